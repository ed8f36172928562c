// This browser as the one who answers: a worker with LiteRT.js. Where that cannot start, see server_engine.js.

const ORDER = ['float32', 'float16', 'static_int8', 'qat_int8'];

/**
 * Chooses the artifact that the browser runs: the one that the server runs, so that both say the same. Dynamic-range
 * int8 is left out: it is slow in browsers and differs by nearly a percent.
 * @param {object} manifest the bundle's metadata.json
 * @returns {{file: string, sha256: string, bytes: number, variant: string, url: string}}
 */
export function chooseArtifact(manifest) {
  const usable = Object.values(manifest.artifacts).filter(
    (entry) => entry.format === 'tflite' && ORDER.includes(entry.variant),
  );
  const same = usable.find((entry) => entry.file === manifest.serve?.artifact);
  usable.sort((a, b) => ORDER.indexOf(a.variant) - ORDER.indexOf(b.variant));
  const chosen = same ?? usable[0];
  if (chosen === undefined) throw new Error('the bundle holds no model that browsers run');
  return {...chosen, url: `/v1/model/${encodeURIComponent(chosen.file)}?sha256=${chosen.sha256}`};
}

/** Returns the manifest with what an artifact states for itself: 8 bits shift its distances, and fine-tuning its thresholds. */
export function manifestOf(manifest, {ood, operating_points}) {
  return {...manifest, ...(ood && {ood}), ...(operating_points && {operating_points})};
}

/** Throws where the model does not measure the quality of a photograph, without which nothing may be answered here. */
function checkMeasures({outputs, outputs_left_out: leftOut}) {
  if (outputs.some(({name}) => name === 'quality')) return;
  const why = leftOut?.quality ?? 'an earlier release exported it; export it again';
  const words = `the server's bundle does not measure the quality of a photograph: ${why}`;
  throw Object.assign(new Error(words), {reason: 'no quality'});
}

/** Runs the model in a worker of this browser. */
export class BrowserEngine {
  /** @param {object} manifest the bundle's metadata.json */
  constructor(manifest) {
    this.manifest = manifest;
    this.artifact = null; // of the bundle, as chosen
    this.waiting = new Map();
    this.next = 1;
    this.worker = null;
  }

  /** Starts the worker and loads the model; rejects where this browser cannot. */
  async start() {
    checkMeasures(this.manifest);
    this.worker = new Worker('/static/js/worker.js');
    this.worker.onmessage = ({data: {id, result, error}}) => {
      const {resolve, reject} = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), {name: error.name, reason: error.reason}));
      else resolve(result);
    };
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      const error = new Error(event.message || 'the worker could not be loaded');
      for (const {reject} of this.waiting.values()) reject(error);
      this.waiting.clear();
      this.worker.terminate(); // the next photograph starts another
      this.worker = null;
    };
    this.artifact = chooseArtifact(this.manifest);
    return this.ask({task: 'start', manifest: manifestOf(this.manifest, this.artifact), artifact: this.artifact});
  }

  /** Answers one photograph; see worker.js for what is returned. */
  async answer(file) {
    if (this.worker === null) await this.start();
    return this.ask({task: 'answer', file});
  }

  ask(message) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, {resolve, reject});
      this.worker.postMessage({id, ...message});
    });
  }
}
