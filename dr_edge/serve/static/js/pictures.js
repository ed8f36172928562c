// The two pictures of an answer: the photograph with its field of view, and the crop with heat map or masks.

import {make} from './elements.js';
import {MASK_COLOURS, OPACITY, enlarge, fieldOfView, heatColour, layHeat, layMasks, layPoints, separate} from './overlay.js';
import {resizeForShow} from './fundus/crop.js';
import {cropWords, heatIsShown, heatTitle, heatWords, noHeatWords, unbroken} from './answer_words.js';

const SHOWN = 480; // side of the crop as it is shown, pixels
const PHOTOGRAPH = [600, 1000]; // longest side of the photograph as it is shown: at least, at most

/** Makes the figure of the photograph with the circle that was found; null where there is no picture to show. */
export async function photographFigure(result) {
  const {answer, preview} = result;
  if (!preview || !answer.photograph) return null;
  const canvas = document.createElement('canvas');
  const image = await createImageBitmap(preview);
  const longest = Math.max(image.width, image.height);
  const scale = longest < PHOTOGRAPH[0] ? PHOTOGRAPH[0] / longest : Math.min(1, PHOTOGRAPH[1] / longest);
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  if (answer.crop) drawField(context, answer);
  image.close();
  canvas.setAttribute('role', 'img');
  canvas.setAttribute(
    'aria-label',
    answer.crop ? 'The photograph with the field of view that was found' : 'The photograph',
  );
  const title = answer.crop ? 'Found field of view. ' : 'The photograph. ';
  return make(
    'figure',
    {},
    make('div.frame', {}, canvas),
    make('figcaption', {}, make('b', {textContent: title}), cropWords(answer)),
  );
}

function drawField(context, {crop, photograph}) {
  const [top, left, bottom, right] = crop.box;
  const scaleX = context.canvas.width / photograph.width;
  const scaleY = context.canvas.height / photograph.height;
  const ellipse = [
    ((left + right) / 2) * scaleX,
    ((top + bottom) / 2) * scaleY,
    ((right - left) / 2) * scaleX,
    ((bottom - top) / 2) * scaleY,
  ];
  const width = Math.max(2, context.canvas.width / 220);
  for (const [colour, thick, dash] of [
    ['rgb(0 0 0 / 65%)', 2.2 * width, []],
    ['#5cd0fa', width, [width * 5, width * 4]],
  ]) {
    context.beginPath();
    context.ellipse(...ellipse, 0, 0, 2 * Math.PI);
    context.setLineDash(dash);
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
  }
}

/** Makes the figure of the crop, with a slider for what lies over it; null where there is no crop. */
export function cropFigure(result, manifest) {
  if (!result.crop) return null;
  const side = Math.round(Math.sqrt(result.crop.length / 4));
  const rgba = enlargedCrop(result.crop, side);
  const canvas = make('canvas', {width: SHOWN, height: SHOWN, role: 'img'});
  const figure = make('figure', {});
  const fill = ({draw, title, words, key, more = null}) => {
    canvas.setAttribute('aria-label', `The square that the model sees. ${words}`);
    const show = (opacity) => canvas.getContext('2d').putImageData(new ImageData(draw(opacity), SHOWN, SHOWN), 0, 0);
    show(key === null ? 0 : OPACITY);
    const caption = make('figcaption', {}, make('b', {textContent: title}), words);
    figure.replaceChildren(make('div.frame.square', {}, canvas), caption);
    if (key !== null) figure.append(key, slider(show));
    if (more === null) return;
    const button = make('button.plain', {type: 'button', textContent: 'Show the heat map anyway'});
    button.onclick = () => fill(more());
    figure.append(button);
  };
  fill(layer(result, manifest, rgba));
  return figure;
}

function enlargedCrop(rgba, side) {
  const rgb = new Uint8Array(side * side * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4) {
    rgb[o++] = rgba[i];
    rgb[o++] = rgba[i + 1];
    rgb[o++] = rgba[i + 2];
  }
  const {data} = resizeForShow({data: rgb, width: side, height: side}, SHOWN);
  const out = new Uint8ClampedArray(SHOWN * SHOWN * 4).fill(255);
  for (let i = 0, o = 0; i < data.length; i += 3, o += 4) out.set(data.subarray(i, i + 3), o);
  return out;
}

/** Returns how to draw what lies over the crop, and its words. */
function layer({answer, heat, masks}, manifest, rgba) {
  if (answer.status !== 'answered') {
    return {
      draw: () => rgba,
      title: 'What the model sees. ',
      words: 'No answer is given, so there is nothing to explain.',
      key: null,
    };
  }
  if (heat && !heatIsShown(answer, manifest)) {
    return {
      draw: () => rgba,
      title: 'What the model sees. ',
      words: noHeatWords(answer, manifest),
      key: null,
      more: () => heatLayer({answer, heat}, manifest, rgba),
    };
  }
  if (heat) return heatLayer({answer, heat}, manifest, rgba);
  if (masks) {
    const names = manifest.task.class_names;
    const centres = manifest.task.centres ?? [];
    const structures = separate(masks).map((data, index) =>
      centres.includes(names[index])
        ? new Float32Array(SHOWN * SHOWN) // a point has no outline
        : enlarge({data, width: masks.width, height: masks.height}, SHOWN),
    );
    const points = pointsInCrop(answer, names);
    const outlined = names.filter((name) => !centres.includes(name));
    const crosses = centres.length ? `, crosses at ${centres.join(' and ')}` : '';
    return {
      draw: (opacity) => {
        const strength = Math.min(1, opacity * 1.5);
        return layPoints(layMasks(rgba, structures, SHOWN, strength), points, SHOWN, strength);
      },
      title: 'What was found. ',
      words: `Outlines of ${outlined.join(' and ')}${crosses}.`,
      key: maskKey(names, centres),
    };
  }
  const why = manifest.outputs_left_out?.heatmap;
  return {
    draw: () => rgba,
    title: 'What the model sees. ',
    words: why ? `No heat map: ${why}.` : 'This bundle has no heat map.',
    key: null,
  };
}

function heatLayer({answer, heat}, manifest, rgba) {
  const map = enlarge(heat, SHOWN);
  const field = fieldOfView(rgba, SHOWN);
  return {
    draw: (opacity) => layHeat(rgba, map, opacity, field),
    title: `${heatTitle(answer, manifest)}. `,
    words: heatWords(answer, manifest),
    key: heatScale(),
  };
}

function heatScale() {
  const canvas = make('canvas', {width: 256, height: 1, 'aria-hidden': 'true'});
  const context = canvas.getContext('2d');
  for (let x = 0; x < 256; x++) {
    context.fillStyle = `rgb(${heatColour(x / 255).join(' ')})`;
    context.fillRect(x, 0, 1, 1);
  }
  return make('div.scale', {}, 'little', canvas, 'much');
}

/** Returns the points of an answer in pixels of the crop as it is shown, with their colours. */
function pointsInCrop(answer, names) {
  const [top, left, bottom, right] = answer.crop.box;
  const found = (answer.points ?? []).filter((point) => point.found);
  return found.map(({class_name: name, x, y}) => ({
    x: ((x + 0.5 - left) * SHOWN) / (right - left) - 0.5,
    y: ((y + 0.5 - top) * SHOWN) / (bottom - top) - 0.5,
    colour: MASK_COLOURS[names.indexOf(name) % MASK_COLOURS.length],
  }));
}

function maskKey(names, centres) {
  const entries = names.map((name, index) => {
    const patch = make('span.key');
    patch.style.background = `rgb(${MASK_COLOURS[index % MASK_COLOURS.length].join(' ')})`;
    return make('span', {}, patch, centres.includes(name) ? `+ ${name}` : name);
  });
  return make('div.scale', {}, ...entries);
}

function slider(show) {
  const output = make('output', {textContent: unbroken(`${100 * OPACITY} %`)});
  const input = make('input', {
    type: 'range',
    min: 0,
    max: 100,
    step: 5,
    value: 100 * OPACITY,
    'aria-label': 'Opacity of the overlay',
  });
  input.oninput = () => {
    output.textContent = unbroken(`${input.value} %`);
    show(Number(input.value) / 100);
  };
  return make('div.slider', {}, make('span', {textContent: 'Overlay'}), input, output);
}
