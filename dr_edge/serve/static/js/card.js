// The card of one answer: verdict, pictures, probabilities, quality, the label beside it.

import {agreement, isUnreliable, percent} from './answer.js';
import {fact, make, row} from './elements.js';
import {cropFigure, photographFigure} from './pictures.js';
import {explanation, headline, operatingWords, unbroken, whereWords} from './answer_words.js';

/**
 * Makes the card of an answered photograph.
 * @param {{answer: object, place: string, label: string | null}} entry with the pictures of worker.js
 * @param {object} manifest the bundle's metadata.json
 * @param {(label: string | null) => void} onLabel called when the user gives a label
 * @returns {Promise<HTMLElement>}
 */
export async function card(entry, manifest, onLabel) {
  const {answer} = entry;
  const {title, tone} = headline(answer, manifest);
  const verdict = make(
    'div.verdict',
    {'data-tone': tone},
    make('p.verdict-file', {textContent: answer.file}),
    make('h2', {id: 'answer-title', textContent: title}),
    make('p', {textContent: explanation(answer, manifest)}),
    answer.status === 'answered' && isUnreliable(manifest)
      ? make('p.unreliable', {textContent: unbroken(manifest.verdict.caution)})
      : null,
    answer.status === 'answered' ? make('p.not', {textContent: 'Not a diagnosis, and no medical device.'}) : null,
  );
  const figures = [await photographFigure(entry), cropFigure(entry, manifest)].filter(Boolean);
  const facts = make(
    'div.facts',
    {},
    probabilities(answer, manifest),
    masks(answer),
    labelled(entry, manifest, onLabel),
    gradability(answer),
    likeness(answer),
    make('p.where', {textContent: whereWords(answer, entry.place)}),
  );
  return make('article.card', {}, verdict, figures.length ? make('div.pictures', {}, ...figures) : null, facts);
}

function probabilities(answer, manifest) {
  const values = answer.outputs?.probabilities;
  if (!values || answer.status !== 'answered') return null;
  const {decision} = answer;
  const shown = {...values};
  const {class_names: names, positive_index: one, positive_class: several} = manifest.task;
  const disease = names[one] ?? several;
  if (decision) shown[disease] = decision.probability; // a row of its own where it is several classes
  const rows = Object.entries(shown).map(([name, value]) =>
    row(name, value, unbroken(percent(value)), {mark: decision && name === disease ? decision.threshold : null}),
  );
  const each = manifest.task.kind === 'multilabel' ? 'probability of each disease' : 'probabilities';
  const unusable = manifest.calibration?.caution; // measured at export; earlier bundles do not state it
  const kind = unusable ? `Not calibrated: ${each}` : `Calibrated ${each}`;
  const note = answer.decision
    ? make('p.note', {textContent: `The mark is the threshold. ${operatingWords(answer.decision, manifest)}`})
    : null;
  return fact(kind, ...rows, unusable ? make('p.note', {textContent: unbroken(unusable)}) : null, note);
}

function masks(answer) {
  if (!answer.masks) return null;
  const lines = answer.masks.map((mask) =>
    make('p', {
      textContent: mask.found
        ? `${mask.class_name}: ${unbroken(`${mask.height} pixels`)} high in the photograph`
        : `${mask.class_name}: not found`,
    }),
  );
  for (const {class_name: name, found, x, y} of answer.points ?? []) {
    const place = `its centre is at x ${Math.round(x)}, y ${Math.round(y)} of the photograph`;
    lines.push(make('p', {textContent: `${name}: ${found ? place : 'not found'}`}));
  }
  const note =
    answer.vcdr == null
      ? null
      : make('p.note', {
          textContent: 'High ratios occur in glaucoma, and in large healthy discs: the ratio alone is no diagnosis.',
        });
  return fact(answer.points ? 'Optic disc, cup and fovea' : 'Optic disc and cup', ...lines, note);
}

function gradability(answer) {
  const {quality} = answer;
  if (!quality) return null;
  const parts = [
    ['Focus', quality.focus],
    ['Contrast', quality.contrast],
    ['Illumination', quality.illumination],
    ['Field of view', quality.fov_fraction],
    ['Colour', quality.colour],
  ];
  const scores = parts.map(([name, value]) => row(name, value, value.toFixed(2)));
  const note = quality.gradable
    ? `Good enough to grade (from ${quality.minimum.toFixed(2)} on, at the mark).`
    : `At least ${quality.minimum.toFixed(2)} is needed (the mark). Take the photograph again.`;
  return fact(
    'Quality of the photograph',
    row('Quality', quality.score, quality.score.toFixed(2), {mark: quality.minimum, low: !quality.gradable}),
    make('p.note', {textContent: note}),
    make('details', {}, make('summary', {textContent: 'What it consists of'}), ...scores),
  );
}

function likeness(answer) {
  const known = answer.distribution;
  if (!known) return null;
  const share = known.distance / (1.5 * known.threshold);
  const note = known.inside
    ? 'Like the photographs that the model was trained on (the mark is the limit).'
    : 'Unlike the photographs that the model was trained on (the mark is the limit).';
  return fact(
    'Distance from the training photographs',
    row('Distance', share, known.distance.toPrecision(3), {mark: 1 / 1.5, low: !known.inside}),
    make('p.note', {textContent: note}),
  );
}

function labelled(entry, manifest, onLabel) {
  if (manifest.task.kind !== 'classification' || entry.answer.status === 'unreadable') return null;
  const select = make('select', {id: 'label'}, make('option', {value: '', textContent: 'none given'}));
  for (const name of manifest.task.class_names) select.append(make('option', {value: name, textContent: name}));
  select.value = entry.label ?? '';
  const said = make('span.agrees', {role: 'status'});
  const compare = () => {
    const agrees = select.value ? agreement(entry.answer, select.value, manifest) : null;
    said.dataset.agrees = String(agrees);
    said.textContent =
      agrees === null
        ? select.value
          ? 'there is no answer to compare with'
          : ''
        : agrees
          ? 'same as the answer'
          : 'differs from the answer';
  };
  select.onchange = () => {
    onLabel(select.value || null);
    compare();
  };
  compare();
  const group = fact('Original label, to compare with', make('div.label', {}, select, said));
  select.setAttribute('aria-label', 'Original label');
  return group;
}
