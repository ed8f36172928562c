// What "Save" writes: the document of `python -m dr_edge.predict`, key by key (dr_edge/prediction/flow.py, schema.py).

import {agreement} from './answer.js';

// An answer of which nothing is known; whoever reads the file finds every field, as in Python's.
const NOTHING = {
  status: null,
  message: null,
  file: null,
  sha256: null,
  reason: null,
  photograph: null,
  crop: null,
  quality: null,
  distribution: null,
  outputs: null,
  prediction: null,
  decision: null,
  findings: null,
  masks: null,
  points: null,
  vcdr: null,
  cautions: [],
  label: null,
  overlay: null,
  milliseconds: {},
};

const STATED = ['status', 'title', 'text', 'baseline', 'value', 'interval', 'split', 'images', 'patients']; // of a verdict

/**
 * Returns the answers as one document; labels beside them, no pictures.
 * @param {object} manifest the bundle's metadata.json
 * @param {{file: string, sha256: string} | null} artifact the model that answered; null where none has yet
 * @param {{answer: object | null, label: string | null}[]} entries one that has no answer is left out, and the document is
 *   not complete then
 * @returns {object}
 */
export function savedDocument(manifest, artifact, entries) {
  const answers = entries
    .filter(({answer}) => answer !== null)
    .map(({answer, label}) => ({...NOTHING, ...answer, label: compared(answer, label, manifest)}));
  return {
    schema: 'dr_edge.prediction',
    schema_version: 1,
    bundle: {
      task: manifest.task.name,
      class_names: manifest.task.class_names,
      positive_class: manifest.task.positive_class ?? null,
      artifact: artifact?.file ?? null,
      sha256: artifact?.sha256 ?? null,
      image_size: manifest.image_size,
      warning: manifest.warning ?? null,
      verdict: manifest.verdict ? Object.fromEntries(STATED.map((key) => [key, manifest.verdict[key] ?? null])) : null,
    },
    answers,
    complete: answers.length === entries.length,
    photographs: answers.length,
    unreadable: answers.filter(({status}) => status === 'unreadable').length,
  };
}

function compared(answer, label, manifest) {
  if (label === null) return null;
  return {given: label, agrees: agreement(answer, label, manifest)};
}
