// The page: takes photographs, asks this browser (or, with the user's consent, the server), shows the answers.

import {card} from './card.js';
import {exportedManifest} from './digests.js';
import {make} from './elements.js';
import {BrowserEngine} from './engines.js';
import {keepOffline} from './offline.js';
import {savedDocument} from './saved.js';
import {ServerEngine} from './server_engine.js';
import {aboutWords, headline, question, unbroken} from './answer_words.js';

const $ = (id) => document.getElementById(id);
// wanted: the first of the photographs that came last, to be shown as soon as it has an answer
const state = {manifest: null, engine: null, place: null, entries: [], shown: null, wanted: null, busy: false};

// Why no browser can run the model, as able as it may be: in short, and as a title.
const OF_THE_SERVER = {
  'not installed': [
    'The server lacks files for the browser',
    'This server lacks the files that run the model in a browser',
  ],
  'no quality': [
    'The model must be exported again for browsers',
    'The model of this server must be exported again to run in a browser',
  ],
};

async function start() {
  try {
    const response = await fetch('/v1/bundle');
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    state.manifest = await exportedManifest(await response.json());
  } catch (error) {
    say('failed', `The model's description cannot be loaded: ${error.message}. Reload the page.`);
    return;
  }
  $('question').textContent = question(state.manifest);
  $('about').textContent = aboutWords(state.manifest);
  $('warning').textContent = state.manifest.warning ?? '';
  $('warning').hidden = !state.manifest.warning;
  const {verdict} = state.manifest;
  $('verdict').textContent = unbroken(verdict?.text ?? '');
  $('verdict').hidden = !verdict || verdict.status === 'better';
  const engine = new BrowserEngine(state.manifest);
  try {
    await engine.start();
    [state.engine, state.place] = [engine, 'browser'];
    say('ready', 'Ready on this device');
    keepOffline(state.manifest).then((kept) => kept && say('ready', 'Ready on this device, also offline'));
  } catch (error) {
    askForServer(error);
  }
  work();
}

/** Says plainly that photographs would leave the device, and sends none before the user agrees. */
function askForServer(error) {
  const [short, title] = OF_THE_SERVER[error.reason] ?? ['This browser cannot run the model', null];
  say('failed', short);
  if (title) $('consent-title').textContent = title;
  $('consent-reason').textContent = `Reason: ${error.message}.`;
  $('consent-host').textContent = location.host;
  $('privacy-words').textContent = 'Nothing has been sent.';
  $('consent').hidden = false;
  sayWaiting();
  $('consent-yes').onclick = () => {
    [state.engine, state.place] = [new ServerEngine(state.manifest), 'server'];
    $('consent').hidden = true;
    $('privacy').classList.add('sent');
    $('privacy-words').textContent = `Photographs are sent to ${location.host} to be graded.`;
    say('server', 'Answers come from the server');
    sayWaiting();
    work();
  };
}

function say(kind, words) {
  $('place').dataset.state = kind;
  $('place-words').textContent = words;
}

function take(files) {
  const added = [...files].map((file) => ({
    file,
    name: file.name || 'photograph',
    answer: null,
    held: false, // it could not be answered now, and the user may try again
    removed: new AbortController(),
    label: null,
    address: null,
    element: null,
  }));
  if (added.length === 0) return;
  state.entries.push(...added);
  hideAnswer(); // it would be taken for the new photograph's
  state.wanted = added[0];
  $('list-part').hidden = false;
  for (const entry of added) $('list').append(listItem(entry));
  countList();
  work();
}

/** Answers one waiting photograph after the other. */
async function work() {
  if (state.busy || state.engine === null) return;
  state.busy = true;
  for (let entry; (entry = state.entries.find((one) => one.answer === null && !one.held));) {
    setItem(entry, 'working…');
    try {
      const options = {say: (words) => setItem(entry, words), signal: entry.removed.signal};
      Object.assign(entry, await state.engine.answer(entry.file, options), {place: state.place});
    } catch (error) {
      if (state.entries.includes(entry)) hold(entry, error);
      continue;
    }
    if (!state.entries.includes(entry)) continue; // removed meanwhile
    entry.file = null; // the preview is kept, the photograph itself is not needed any more
    const {short} = headline(entry.answer, state.manifest);
    setItem(entry, short);
    $('spoken').textContent = `${entry.name}: ${short}`;
    if (entry === state.wanted || (state.wanted === null && state.shown === null)) {
      await show(entry);
      if (matchMedia('(max-width: 899px)').matches) $('answer').scrollIntoView({block: 'start'});
    }
  }
  state.busy = false;
}

/** Keeps a photograph that was not answered for no fault of its own, and offers to try again. */
function hold(entry, error) {
  entry.held = true;
  if (state.wanted === entry) state.wanted = null;
  setItem(entry, 'not answered');
  const again = make('button.plain', {type: 'button', textContent: 'Try again', 'aria-label': `Try ${entry.name} again`});
  const notice = make('p.held', {}, unbroken(`Not answered: ${error.message}. `), again);
  again.onclick = () => {
    notice.remove();
    entry.held = false;
    setItem(entry, 'waiting…');
    work();
  };
  entry.element.button.after(notice);
  $('spoken').textContent = `${entry.name}: not answered, ${error.message}`;
}

/** Says what a photograph waits for; after a failed start nothing comes until the user agrees to the server. */
function waitingWords() {
  if (state.engine) return 'waiting…';
  return $('consent').hidden ? 'waiting for the model…' : 'not sent, see above…';
}

function sayWaiting() {
  for (const entry of state.entries) if (!entry.answer && entry.element) setItem(entry, waitingWords());
}

function listItem(entry) {
  const thumb = make('span.thumb');
  const said = make('span.item-said', {textContent: waitingWords()});
  const words = make('span.item-words', {}, said, make('span.item-name', {textContent: entry.name}));
  const button = make('button.item', {type: 'button', 'aria-current': 'false'}, thumb, words);
  button.onclick = () => {
    if (entry.answer) show(entry).then(() => $('answer').scrollIntoView({block: 'start', behavior: 'smooth'}));
  };
  entry.element = {button, thumb, said};
  return make('li', {}, button);
}

function setItem(entry, words) {
  entry.element.said.textContent = words;
  if (!entry.preview || entry.address) return;
  entry.address = URL.createObjectURL(entry.preview);
  entry.element.thumb.append(make('img', {alt: '', src: entry.address}));
}

async function show(entry) {
  [state.shown, state.wanted] = [entry, null];
  for (const other of state.entries) other.element.button.setAttribute('aria-current', String(other === entry));
  const element = await card(entry, state.manifest, (label) => {
    entry.label = label;
  });
  if (state.shown !== entry) return; // another was chosen meanwhile
  $('empty').hidden = true;
  $('answer').setAttribute('aria-labelledby', 'shown-title');
  element.querySelector('h2').id = 'shown-title';
  $('shown').replaceChildren(element);
  $('shown').hidden = false;
}

function countList() {
  const count = state.entries.length;
  $('list-title').textContent = count === 1 ? '1 photograph' : `${count} photographs`;
}

function removeAll() {
  for (const {address, removed} of state.entries) {
    removed.abort();
    if (address) URL.revokeObjectURL(address);
  }
  state.entries = [];
  state.wanted = null;
  $('list').replaceChildren();
  $('list-part').hidden = true;
  hideAnswer();
  $('choose').focus();
}

function hideAnswer() {
  state.shown = null;
  for (const {element} of state.entries) element?.button.setAttribute('aria-current', 'false');
  $('shown').replaceChildren();
  $('shown').hidden = true;
  $('empty').hidden = false;
  $('answer').setAttribute('aria-labelledby', 'answer-title');
}

/** Saves the answers as `python -m dr_edge.predict` writes them. */
function save() {
  const content = savedDocument(state.manifest, state.engine?.artifact ?? null, state.entries);
  const address = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], {type: 'application/json'}));
  make('a', {href: address, download: 'answers.json'}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function listen() {
  for (const id of ['choose', 'take']) {
    $(id).onchange = () => {
      take($(id).files);
      $(id).value = '';
    };
  }
  $('save').onclick = save;
  $('clear').onclick = removeAll;
  const drop = $('drop');
  const over = (event) => {
    event.preventDefault();
    drop.classList.add('over');
  };
  // Anywhere on the page: a photograph that misses the field must not replace the page.
  addEventListener('dragover', over);
  addEventListener('dragleave', () => drop.classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    take(event.dataTransfer?.files ?? []);
  });
  addEventListener('paste', (event) => take(event.clipboardData?.files ?? []));
}

listen();
start();
