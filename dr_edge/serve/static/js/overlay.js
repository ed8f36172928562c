// Heat maps and masks over the crop: a port of dr_edge/drawing/overlay.py, with the same colours.

import {interpolate} from './fundus/resize.js';

// From deep blue over cyan to white: lightness rises evenly, and no retina is blue.
export const HEAT_COLOURS = [
  [24, 22, 92],
  [28, 72, 190],
  [30, 140, 236],
  [92, 208, 250],
  [244, 254, 255],
];
export const MASK_COLOURS = [
  [120, 220, 255],
  [255, 214, 92],
  [255, 130, 190],
  [150, 235, 140],
];
export const OPACITY = 0.6;
const [LIT, RETINA] = [10, 30]; // of 255; outside the field of view a camera leaves less, and surely less than the second
const MUTING = 0.6; // of the photograph's own colours, so that the heat's can be told from them

/** Returns the colour of a heat in 0..1, [r, g, b]. */
export function heatColour(heat) {
  const place = Math.min(1, Math.max(0, heat)) * (HEAT_COLOURS.length - 1);
  const below = Math.min(HEAT_COLOURS.length - 2, Math.floor(place));
  const part = place - below;
  return HEAT_COLOURS[below].map((value, c) => Math.round(value + part * (HEAT_COLOURS[below + 1][c] - value)));
}

/**
 * Enlarges a map to the size at which it is shown.
 * @param {{data: Float32Array, width: number, height: number}} map
 * @param {number} size pixels
 * @returns {Float32Array} size * size
 */
export function enlarge(map, size) {
  if (map.width === size && map.height === size) return map.data;
  return interpolate(map, size).data;
}

/**
 * Finds the field of view in a crop, as dr_edge/drawing/field.py does: what has something lit on either side along its
 * row and its column; where the corners are dark, within the disc.
 * @param {Uint8ClampedArray} rgba the crop, size * size * 4
 * @param {number} size pixels
 * @returns {Uint8Array} size * size, 1 inside
 */
export function fieldOfView(rgba, size) {
  const brightest = Uint8Array.from({length: size * size}, (_, i) =>
    Math.max(rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]),
  );
  const middle = (size - 1) / 2;
  const inDisc = (x, y) => (x - middle) ** 2 + (y - middle) ** 2 <= (size / 2) ** 2;
  let [corners, retina] = [0, 0];
  const spans = [0, 1].map(() => Array.from({length: size}, () => [size, -1])); // first and last lit pixel of each line
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      if (!inDisc(x, y)) [corners, retina] = [corners + 1, retina + (brightest[i] > RETINA ? 1 : 0)];
      if (brightest[i] <= LIT) continue;
      for (const [span, at] of [
        [spans[0][y], x],
        [spans[1][x], y],
      ]) {
        span[0] = Math.min(span[0], at);
        span[1] = Math.max(span[1], at);
      }
    }
  }
  const bounded = retina * 2 <= corners;
  const within = ([first, last], at) => at >= first && at <= last;
  return Uint8Array.from({length: size * size}, (_, i) => {
    const [x, y] = [i % size, Math.floor(i / size)];
    return within(spans[0][y], x) && within(spans[1][x], y) && (!bounded || inDisc(x, y)) ? 1 : 0;
  });
}

/**
 * Lays a heat map over a picture; outside the field of view none is drawn.
 * @param {Uint8ClampedArray} rgba the crop, size * size * 4
 * @param {Float32Array} heat 0..1, size * size
 * @param {number} opacity of the hottest place, 0..1; 0 shows the picture as it is
 * @param {Uint8Array} field from `fieldOfView`
 * @returns {Uint8ClampedArray} rgba
 */
export function layHeat(rgba, heat, opacity, field) {
  const out = new Uint8ClampedArray(rgba);
  if (opacity === 0) return out;
  for (let i = 0, o = 0; i < heat.length; i++, o += 4) {
    const value = Math.min(1, Math.max(0, heat[i]));
    const weight = opacity * value * field[i];
    const grey = 0.299 * rgba[o] + 0.587 * rgba[o + 1] + 0.114 * rgba[o + 2];
    const colour = heatColour(value);
    for (let c = 0; c < 3; c++) {
      const muted = (1 - MUTING) * rgba[o + c] + MUTING * 0.85 * grey;
      out[o + c] = muted * (1 - weight) + colour[c] * weight;
    }
  }
  return out;
}

/**
 * Draws the outline and a tint of each structure over a picture.
 * @param {Uint8ClampedArray} rgba the crop, size * size * 4
 * @param {Float32Array[]} structures probabilities, size * size each
 * @param {number} size pixels
 * @param {number} opacity of the outlines, 0..1; the tint is a third of it
 * @returns {Uint8ClampedArray} rgba
 */
export function layMasks(rgba, structures, size, opacity) {
  const out = new Uint8ClampedArray(rgba);
  const reach = Math.max(1, Math.round(size / 256));
  structures.forEach((values, index) => {
    const colour = MASK_COLOURS[index % MASK_COLOURS.length];
    const inside = (x, y) => x >= 0 && y >= 0 && x < size && y < size && values[y * size + x] >= 0.5;
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        if (!inside(x, y)) continue;
        const edge = !(inside(x - reach, y) && inside(x + reach, y) && inside(x, y - reach) && inside(x, y + reach));
        const weight = edge ? opacity : opacity / 3;
        const o = (y * size + x) * 4;
        for (let c = 0; c < 3; c++) out[o + c] = out[o + c] * (1 - weight) + colour[c] * weight;
      }
    }
  });
  return out;
}

/**
 * Draws a cross at each point, in place; dark around, so that it shows on bright and on dark places.
 * @param {Uint8ClampedArray} rgba size * size * 4
 * @param {{x: number, y: number, colour: number[]}[]} points in its pixels, the centre of the first one being (0, 0)
 * @param {number} size pixels
 * @param {number} opacity 0..1
 * @returns {Uint8ClampedArray} rgba
 */
export function layPoints(rgba, points, size, opacity) {
  const reach = Math.max(3, Math.round(size / 32));
  const thick = Math.max(1, Math.round(size / 256));
  const bar = (x, y, across, down, colour) => {
    for (let j = Math.max(0, y - down); j <= Math.min(size - 1, y + down); j++) {
      for (let i = Math.max(0, x - across); i <= Math.min(size - 1, x + across); i++) {
        const o = (j * size + i) * 4;
        for (let c = 0; c < 3; c++) rgba[o + c] = rgba[o + c] * (1 - opacity) + colour[c] * opacity;
      }
    }
  };
  for (const {x, y, colour} of points) {
    const [i, j] = [Math.round(x), Math.round(y)];
    for (const [wider, shade] of [
      [1, [0, 0, 0]],
      [0, colour],
    ]) {
      bar(i, j, reach + wider, thick - 1 + wider, shade);
      bar(i, j, thick - 1 + wider, reach + wider, shade);
    }
  }
  return rgba;
}

/** Takes masks apart: [height, width, count] interleaved to one array each. */
export function separate({data, width, height, count}) {
  return Array.from({length: count}, (_, index) =>
    Float32Array.from({length: width * height}, (_unused, i) => data[i * count + index]),
  );
}
