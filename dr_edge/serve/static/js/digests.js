// bundle.sha256 in the page: a port of dr_edge/bundle_files/digests.py. What the page decides by is the metadata.json that
// was exported, byte by byte, and not only what the server made of it.

import {manifestOf} from './engines.js';
import {sha256} from './sha256.js';

export const FILES = ['/v1/bundle/metadata.json', '/v1/bundle/bundle.sha256'];
const MANIFEST = 'metadata.json';

/** Returns name -> SHA-256 of the lines that sha256sum writes. */
export function parseDigests(text) {
  const listed = new Map();
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const found = /^([0-9a-f]{64}) [ *](?:\.\/)?([^\r\\]+)$/.exec(line);
    if (found === null || listed.has(found[2])) throw new Error('bundle.sha256 is no list that sha256sum wrote');
    listed.set(found[2], found[1]);
  }
  return listed;
}

/** Throws where bundle.sha256 and metadata.json, whose SHA-256 is given, do not say the same of every file. */
export function checkDigests(listed, manifest, digest) {
  if (listed.get(MANIFEST) !== digest) {
    throw new Error('its metadata.json is not the one that was exported (its SHA-256 differs from that in bundle.sha256)');
  }
  const stated = new Map([...Object.entries(manifest.files), [MANIFEST, digest]]);
  for (const name of new Set([...listed.keys(), ...stated.keys()])) {
    if (listed.get(name) !== stated.get(name)) {
      throw new Error(`its bundle.sha256 and metadata.json do not say the same of ${name}`);
    }
  }
  for (const {file, sha256: digestOfFile} of Object.values(manifest.artifacts)) {
    if (listed.get(file) !== digestOfFile) throw new Error(`its metadata.json says two things of ${file}`);
  }
}

/**
 * Returns the manifest that the page goes by: the fields of the metadata.json that was exported, and what the server adds.
 * @param {object} served what /v1/bundle says; of a bundle of an earlier release that is all there is
 * @param {(path: string) => Promise<ArrayBuffer>} get fetches a file of the server
 * @throws {Error} what arrived is not what was exported
 */
export async function exportedManifest(served, get = fetched) {
  if (!served.serve?.digests) return served;
  const [bytes, list] = await Promise.all(FILES.map(get));
  const manifest = JSON.parse(new TextDecoder().decode(bytes)); // which leaves a byte order mark out
  checkDigests(parseDigests(new TextDecoder().decode(list)), manifest, await sha256(new Uint8Array(bytes)));
  const used = Object.values(manifest.artifacts).find(({file}) => file === served.serve.artifact);
  return {...served, ...manifestOf(manifest, used ?? {})};
}

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`the server answered ${response.status} for ${path}`);
  return response.arrayBuffer();
}
