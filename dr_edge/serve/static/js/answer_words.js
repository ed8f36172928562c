// Answers in plain words: what is asked, what was found, and how sure that is.

import {cautionWords, isUnreliable, percent, positiveIndices} from './answer.js';

const QUESTIONS = {
  referable_dr: 'Is there diabetic retinopathy that a specialist should see (grade 2 or more)?',
  any_dr: 'Is there any diabetic retinopathy?',
  messidor_any_dr: 'Is there any diabetic retinopathy?',
  dr_grade: 'Which grade of diabetic retinopathy (ICDR 0 to 4)?',
  optic_disc_and_cup: 'How large is the cup in the optic disc?',
  optic_disc_cup_and_fovea: 'How large is the cup in the optic disc, and where is the fovea?',
};

/** Keeps a number and its unit on one line, with a no-break space; as dr_edge/drawing/html.py does. */
export function unbroken(text) {
  return text.replace(/(?<=\d) (?=(?:%|px|pixels|kB|MB|ms|s)(?!\w))|(?<=[<>]) (?=\d)/g, '\u00a0');
}

/** Returns the question that a bundle answers. */
export function question(manifest) {
  const {name, class_names: names, positive_class: disease, negative_class: others} = manifest.task;
  if (name === 'class' && disease) return `${disease[0].toUpperCase()}${disease.slice(1)} or ${others}?`;
  return QUESTIONS[name] ?? `${name.replaceAll('_', ' ')}: ${names.join(', ')}`;
}

/**
 * Returns the headline of an answer and its tone; of a model that was not told from guessing it starts with that.
 * @returns {{title: string, short: string, tone: 'good' | 'warn' | 'stop' | 'plain'}} short: for a list
 */
export function headline(answer, manifest) {
  const {title, short, tone} = wordedHeadline(answer, manifest);
  return {title: unbroken(title), short: unbroken(short), tone};
}

function wordedHeadline(answer, manifest) {
  const {title, short, tone} = bareHeadline(answer, manifest);
  if (answer.status !== 'answered' || !isUnreliable(manifest)) return {title, short, tone};
  const first = manifest.verdict.title;
  return {title: `${first}: ${title}`, short: `${first}: ${short}`, tone: 'stop'};
}

function bareHeadline(answer, manifest) {
  switch (answer.status) {
    case 'unreadable':
      return {title: 'This file cannot be read', short: 'cannot be read', tone: 'stop'};
    case 'not_a_fundus_photograph':
      return answer.reason === 'too dark'
        ? {title: 'Too dark to see a fundus', short: 'too dark', tone: 'stop'}
        : {title: 'Not a fundus photograph', short: 'no fundus photograph', tone: 'stop'};
    case 'too_poor_to_grade':
      return {title: 'Too poor to grade', short: 'too poor to grade', tone: 'warn'};
    case 'out_of_distribution':
      return {title: 'Unlike what the model knows', short: 'unusual, not graded', tone: 'warn'};
  }
  if (answer.decision) {
    const {class_name: name, probability, positive} = answer.decision;
    return {
      title: name,
      short: `${name} · ${percent(positive ? probability : 1 - probability)}`,
      tone: positive ? 'warn' : 'good',
    };
  }
  if (answer.prediction) {
    const {class_name: name, probability} = answer.prediction;
    return {title: name, short: `${name} · ${percent(probability)}`, tone: 'plain'}; // no threshold: nothing is all clear
  }
  if (answer.findings) {
    const present = answer.findings.filter((row) => row.present).map((row) => row.class_name);
    const title = present.length ? present.join(', ') : 'None of the diseases asked for';
    return {title, short: present.length ? title : 'none found', tone: present.length ? 'warn' : 'good'};
  }
  if (answer.vcdr != null) {
    const title = `Cup-to-disc ratio ${answer.vcdr.toFixed(2)}`;
    return {title, short: title, tone: 'plain'};
  }
  const [first] = bareMessage(answer, manifest).replace(/\.$/, '').split('. '); // in a list, more would push the others out of sight
  return {title: first, short: first, tone: 'plain'};
}

function bareMessage(answer, manifest) {
  const caution = cautionWords(manifest);
  const message = answer.message.startsWith(caution) ? answer.message.slice(caution.length) : answer.message;
  const end = cautions(answer);
  return end && message.endsWith(end) ? message.slice(0, -end.length) : message;
}

/** Returns the cautions of an answer as they stand at the end of its message; those of earlier servers have none. */
function cautions(answer) {
  return (answer.cautions ?? []).map((sentence) => ` ${sentence}`).join('');
}

/** Returns one or two sentences that explain the headline. */
export function explanation(answer, manifest) {
  return unbroken((bareExplanation(answer, manifest) + cautions(answer)).trim());
}

function bareExplanation(answer, manifest) {
  if (answer.decision) {
    const {probability, threshold, positive, positive_class: disease} = answer.decision;
    const side = positive ? 'at or above' : 'below';
    const sure = `Probability of “${disease}”: ${percent(probability)}, ${side} the threshold of ${(100 * threshold).toFixed(1)} %.`;
    const {class_name: likeliest, probability: own} = answer.prediction;
    return manifest.task.class_names.length > 2 ? `${sure} Likeliest class: ${likeliest}, ${percent(own)}.` : sure;
  }
  if (answer.prediction) return `Probability ${percent(answer.prediction.probability)}.`;
  if (answer.vcdr != null) {
    return answer.vcdr > 1
      ? 'The cup reaches beyond the disc: do not rely on it.'
      : 'Height of the optic cup divided by the height of the optic disc.';
  }
  if (answer.status === 'out_of_distribution') {
    return 'This photograph differs from those that the model was trained on. An answer would be guessing, so none is given.';
  }
  const title = bareHeadline(answer, manifest).title.toLowerCase();
  const whole = bareMessage(answer, manifest);
  const message = whole.toLowerCase();
  if (message === title || message === `${title}.`) return ''; // the headline says it all
  if (!message.startsWith(`${title}: `) && !message.startsWith(`${title}. `)) return whole;
  const rest = whole.slice(title.length + 2);
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

/** Returns what the operating point did on the validation photographs. */
export function operatingWords(decision, manifest) {
  const {negative_class: negative, positive_class: positive} = manifest.task;
  const share = (value) => `${Math.round(100 * value)} %`;
  return unbroken(
    `Operating point “${decision.operating_point}”: on the validation photographs this threshold called ${share(decision.sensitivity)} of those ` +
    `labelled “${positive}” and ${share(1 - decision.specificity)} of those labelled “${negative}” positive.`,
  );
}

/** Returns the title of the heat map, as dr_edge/prediction/pictures.py words it. */
export function heatTitle(answer, manifest) {
  const explained = likelier(answer, manifest);
  const ill = positiveIndices(manifest).includes(manifest.task.class_names.indexOf(explained));
  // The threshold is not 0.5: the graph explains the likelier class, which may not be what was decided.
  return answer.decision && answer.decision.positive !== ill
    ? `Grad-CAM of ${explained} (likelier), not of ${answer.decision.class_name}`
    : `Grad-CAM of ${explained}`;
}

/** Returns what the colours of the heat map mean. */
export function heatWords(answer, manifest) {
  return `Lighter blue places speak more for “${likelier(answer, manifest)}”.`;
}

/** Says whether the heat map is shown that nobody asked for, as heat_is_shown of dr_edge/prediction/pictures.py does. */
export function heatIsShown(answer, manifest) {
  if (answer.status !== 'answered') return false;
  const explained = manifest.task.class_names.indexOf(likelier(answer, manifest));
  if (answer.findings) return answer.findings[explained].present;
  const ill = positiveIndices(manifest);
  if (ill.length === 0) return true; // no class is known to be a disease
  return ill.includes(explained) && (!answer.decision || answer.decision.positive);
}

/** Says why no heat map is shown. A disease may be decided below one half, and the graph explains the likeliest class. */
export function noHeatWords(answer, manifest) {
  return answer.decision?.positive
    ? `No heat map: it would speak for “${likelier(answer, manifest)}”, the likeliest class, not for “${answer.decision.class_name}”.`
    : 'No heat map: it would speak for no disease that was found.';
}

function likelier(answer, manifest) {
  const names = manifest.task.class_names;
  const values = names.map((name) => answer.outputs.probabilities[name]);
  return names[values.indexOf(Math.max(...values))];
}

/** Says how large a photograph and its crop are. */
export function cropWords(answer) {
  const {photograph, crop} = answer;
  const size = `${photograph.width} × ${photograph.height} pixels`;
  if (!crop) return unbroken(`${size}; no field of view was found.`);
  const [top, left, bottom, right] = crop.box;
  const beyond = top < 0 || left < 0 || bottom > photograph.height || right > photograph.width;
  const wide = `${Math.round(right - left)} pixels wide`;
  return unbroken(`${size}. Field of view: ${wide}${beyond ? ', cut off by the frame' : ''}.`);
}

/** Says what the model was trained on, for the start page. */
export function aboutWords(manifest) {
  const {training, image_size: side} = manifest;
  const images = training?.splits?.train;
  const data = training ? ` trained on ${images ? `${images} photographs of ` : ''}“${training.dataset}”` : '';
  const seen = unbroken(`it sees ${side} × ${side} pixels`);
  return `Model: ${training?.model?.name ?? 'unnamed'},${data}; ${seen}. Its answers hold for photographs like those.`;
}

/** Says where an answer was computed and how long that took. */
export function whereWords(answer, place) {
  const times = answer.milliseconds ?? {};
  const total = Object.values(times).reduce((sum, value) => sum + value, 0);
  const seconds = total ? unbroken(` in ${(total / 1000).toFixed(total < 1000 ? 2 : 1)} s`) : '';
  return place === 'browser'
    ? `Computed in this browser${seconds}. The photograph did not leave this device.`
    : `Computed by the server${seconds}, to which the photograph was sent.`;
}
