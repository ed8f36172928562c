// What the model's outputs mean: a port of dr_edge/prediction/answer.py, the same fields in the same words.

import {heightInPhotograph, pointInPhotograph} from './glaucoma.js';

// As dr_edge/prediction/bundle.py and answer.py; a server that was started with another says so in /v1/bundle.
export const OPERATING_POINTS = ['sensitivity_90', 'sensitivity_87', 'youden'];
const PRESENT = 0.5;
const [DISC, CUP] = ['optic disc', 'optic cup'];
const COVERED =
  'Part of the retina is covered (a label, text, a bar or glare): nothing is known of what lies below. Use the photograph without it.';

/** Returns a probability in words that never claim certainty: "87 %", "> 99 %", "< 1 %". */
export function percent(probability) {
  if (probability > 0.99) return '> 99 %';
  return probability < 0.01 ? '< 1 %' : `${(100 * probability).toFixed(0)} %`;
}

/** Returns the answer to a picture that shows no fundus. */
export function refused(error, facts) {
  const detail = error.message.slice(error.reason.length + 2);
  return {
    ...facts,
    status: 'not_a_fundus_photograph',
    reason: error.reason,
    message: `Not a fundus photograph that can be graded (${error.reason}): ${detail}`,
  };
}

/** Returns the answer to a file that is no readable photograph. */
export function unreadable(error, file) {
  return {file, status: 'unreadable', reason: error.reason, message: error.message};
}

/**
 * Returns what the outputs mean for a photograph that has a crop.
 * @param {object} manifest the bundle's metadata.json
 * @param {{file: string, photograph: {width: number, height: number}, crop: {box: number[], size: number}}} facts
 * @param {Object<string, Float32Array>} outputs by name
 * @param {{kind?: string, covered?: boolean}} found what the photograph is, from crop.js
 * @returns {object} the answer, with the fields of dr_edge.predict
 */
export function interpret(manifest, facts, outputs, found = {}) {
  const names = manifest.task.class_names;
  const minimum = manifest.serve?.min_quality ?? manifest.quality.minimum;
  const quality = measured(manifest, outputs);
  const graded = {...quality, minimum, gradable: quality.score >= minimum};
  const distance = outputs.ood_distance ? outputs.ood_distance[0] : null;
  const threshold = manifest.ood?.threshold ?? null;
  const distribution =
    distance === null || threshold === null ? null : {distance, threshold, inside: distance <= threshold};
  const probabilities = outputs.probabilities
    ? Object.fromEntries(names.map((name, i) => [name, outputs.probabilities[i]]))
    : null;
  const answer = {
    ...facts,
    status: 'answered',
    reason: null,
    quality: graded,
    distribution,
    outputs: {probabilities, ood_distance: distance},
    cautions: [],
  };
  if (!graded.gradable) {
    const message = `Too poor to grade: quality ${graded.score.toFixed(2)}, ${minimum.toFixed(2)} is needed (${worst(graded)}). Take the photograph again.`;
    return {...answer, status: 'too_poor_to_grade', reason: 'quality', message};
  }
  if (distribution !== null && !distribution.inside) {
    const message = `Unlike the photographs that the model was trained on (distance ${distance.toFixed(1)}, at most ${threshold.toFixed(1)}): not graded.`;
    return {...answer, status: 'out_of_distribution', reason: 'distance', message};
  }
  const meaning = {classification: classified, multilabel: findings, segmentation: segmented}[manifest.task.kind];
  const said = meaning(answer, manifest, outputs);
  const cautions = cautionsOf(manifest, found);
  return {...said, message: [cautionWords(manifest) + said.message, ...cautions].join(' '), cautions};
}

/** Returns what the model measured of the photograph: score, focus, contrast, illumination, fov_fraction, colour. */
function measured({quality: {names}}, {quality: values}) {
  return Object.fromEntries(names.map((name, i) => [name, Math.min(1, Math.max(0, values[i]))]));
}

function cautionsOf({pictures}, {kind = 'colour', covered = false}) {
  const cautions = covered ? [COVERED] : [];
  if (kind !== 'colour' && Object.keys(pictures ?? {}).length === 0) {
    cautions.push(
      `This photograph is ${kind}, and the bundle, of an earlier release, does not say whether the model learned such ones: ` +
        'do not rely on the answer unless you know.',
    );
  }
  return cautions;
}

/** Returns what an answer's message starts with where the model was not told from guessing (dr_edge/verdict.py); else ''. */
export function cautionWords({verdict}) {
  return isUnreliable({verdict}) ? `${verdict.caution} ` : '';
}

/** Says whether the model was not told from guessing, so that no answer may be read as a fact. */
export function isUnreliable({verdict}) {
  return ['worse', 'not_told'].includes(verdict?.status);
}

function worst(graded) {
  const words = [
    ['blurred', graded.focus],
    ['poor in contrast', graded.contrast],
    ['too dark or burnt out', graded.illumination],
    ['little of the field of view is lit', graded.fov_fraction],
  ];
  return words.reduce((least, one) => (one[1] < least[1] ? one : least))[0];
}

/** Returns the indices of the classes that mean the disease; the server states them for old bundles, too. */
export function positiveIndices(manifest) {
  return manifest.task.positive_indices ?? [];
}

/** Says whether an answer is what the label of the photograph says; null where there is no answer. */
export function agreement(answer, label, manifest) {
  const names = manifest.task.class_names;
  if (answer.decision && names.length === 2) {
    return answer.decision.positive === positiveIndices(manifest).includes(names.indexOf(label));
  }
  return answer.prediction ? answer.prediction.class_name === label : null; // several classes: a decision names no single one
}

/** Returns the operating point that decides, or null. */
export function operatingPoint(manifest) {
  const points = manifest.operating_points ?? [];
  const wanted = manifest.serve?.operating_point;
  const order = wanted ? [wanted] : OPERATING_POINTS;
  return order.map((name) => points.find((point) => point.name === name)).find(Boolean) ?? null;
}

function classified(answer, manifest, {probabilities}) {
  const names = manifest.task.class_names;
  const index = probabilities.indexOf(Math.max(...probabilities));
  const prediction = {class_name: names[index], index, probability: probabilities[index]};
  const positives = positiveIndices(manifest);
  const point = positives.length ? operatingPoint(manifest) : null;
  if (point === null) {
    return {
      ...answer,
      prediction,
      decision: null,
      message: `${prediction.class_name}, probability ${percent(prediction.probability)}.`,
    };
  }
  const probability = positives.reduce((sum, i) => sum + probabilities[i], 0);
  const positive = probability >= point.threshold;
  const decision = {
    operating_point: point.name,
    threshold: point.threshold,
    positive_class: manifest.task.positive_class,
    probability,
    positive,
    class_name: positive ? manifest.task.positive_class : manifest.task.negative_class,
    sensitivity: point.sensitivity,
    specificity: point.specificity,
  };
  const likeliest =
    names.length > 2 ? ` Likeliest class: ${prediction.class_name}, ${percent(prediction.probability)}.` : '';
  const message =
    `${decision.class_name}: the probability of ${decision.positive_class}, ${percent(probability)}, ${positive ? 'reaches' : 'is below'} ` +
    `the threshold of ${(100 * point.threshold).toFixed(1)} % (${point.name}).${likeliest}`;
  return {...answer, prediction, decision, message};
}

function findings(answer, manifest, {probabilities}) {
  const asked = manifest.task.class_names.map((name, i) => ({
    class_name: name,
    probability: probabilities[i],
    present: probabilities[i] >= PRESENT,
  }));
  const words = asked.map((row) => `${row.present ? '' : 'no '}${row.class_name} (${percent(row.probability)})`);
  return {...answer, findings: asked, message: `${words.join(', ')}.`};
}

/** Says where a point is that was looked for. */
export function pointWords({class_name: name, found, x, y}) {
  return `The centre of the ${name} ${found ? `is at x ${Math.round(x)}, y ${Math.round(y)}` : 'was not found'}.`;
}

function segmented(answer, manifest, outputs) {
  const side = manifest.image_size;
  const centres = manifest.task.centres ?? [];
  const masks = [];
  const points = [];
  manifest.task.class_names.forEach((name, index, names) => {
    const values = Float32Array.from({length: side * side}, (_, i) => outputs.masks[i * names.length + index]);
    if (centres.includes(name)) {
      points.push({class_name: name, ...pointInPhotograph(values, side, answer.crop.box, answer.photograph)});
      return;
    }
    const height = heightInPhotograph(values, side, answer.crop.box, answer.photograph);
    const share = values.reduce((sum, value) => sum + (value >= PRESENT ? 1 : 0), 0) / values.length;
    masks.push({class_name: name, found: height > 0, area_fraction: share, height});
  });
  const heightOf = (name) => masks.find((mask) => mask.class_name === name)?.height ?? 0;
  const vcdr = heightOf(DISC) && heightOf(CUP) ? heightOf(CUP) / heightOf(DISC) : null;
  const missing = masks.filter((mask) => !mask.found).map((mask) => mask.class_name);
  let message = missing.length
    ? `${missing.join(' and ')} not found.`
    : `${masks.map((mask) => mask.class_name).join(', ')} found.`;
  if (vcdr !== null) message = `Vertical cup-to-disc ratio ${vcdr.toFixed(2)}.`;
  if (vcdr !== null && vcdr > 1) message += ' The cup reaches beyond the disc: do not rely on it.';
  for (const point of points) message += ` ${pointWords(point)}`;
  return {...answer, masks, points: points.length ? points : null, vcdr, message};
}
