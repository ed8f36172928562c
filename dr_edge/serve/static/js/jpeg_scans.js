// Limits the scans of a JPEG, each of which runs over the whole picture: a port of dr_edge/fundus/jpeg_scans.py.

export const MAX_SCANS = 100;

const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
const standsAlone = (marker) => marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);

/**
 * Says whether a JPEG has more than MAX_SCANS scans; of other damage it says nothing.
 * @param {Uint8Array} bytes the whole file
 * @returns {boolean}
 */
export function hasTooManyScans(bytes) {
  let [at, scans, components, progressive] = [2, 0, 0, false];
  while (at + 10 <= bytes.length) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xff) {
      at++; // decoders look for the next marker
      continue;
    }
    if (marker === 0xd9) return false;
    if (standsAlone(marker)) {
      at += 2;
      continue;
    }
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    if (isFrame(marker)) [progressive, components] = [marker === 0xc2, bytes[at + 9]];
    if (marker !== 0xda) {
      at += 2 + Math.max(length, 2);
      continue;
    }
    if (!progressive && bytes[at + 4] >= components) return false; // the only one
    if (++scans > MAX_SCANS) return true;
    at = nextMarker(bytes, at + 2 + length);
  }
  return false;
}

/** Returns the position of the marker that ends the entropy-coded data at `start`, or the end of the file. */
function nextMarker(bytes, start) {
  for (let at = bytes.indexOf(0xff, start); at >= 0 && at + 1 < bytes.length; at = bytes.indexOf(0xff, at + 1)) {
    const next = bytes[at + 1];
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  return bytes.length;
}
