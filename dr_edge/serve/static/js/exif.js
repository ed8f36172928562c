// How the EXIF of a file says that its picture lies, and how a picture is turned: browsers differ in whether they turn a PNG
// or a WebP, so that its EXIF is taken out before they decode it, and the page turns it.

/** Returns bytes as text, one character each. */
export function textAt(bytes, start, length) {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}

/** Returns the orientation (1..8) that an EXIF segment states, or null; what is damaged states none. */
export function exifOrientation(bytes, view, start, length) {
  if (textAt(bytes, start, 6) !== 'Exif\0\0' || length < 14 || start + length > bytes.length) return null;
  return tiffOrientation(bytes, view, start + 6, start + length);
}

/** Returns the orientation (1..8) that EXIF from its byte order on states, or null. */
export function tiffOrientation(bytes, view, tiff, end) {
  if (end - tiff < 8 || end > bytes.length || !['II', 'MM'].includes(textAt(bytes, tiff, 2))) return null;
  const little = textAt(bytes, tiff, 2) === 'II';
  const directory = tiff + view.getUint32(tiff + 4, little);
  if (directory + 2 > end) return null;
  for (let i = 0; i < view.getUint16(directory, little); i++) {
    const entry = directory + 2 + 12 * i;
    if (entry + 12 > end) return null;
    if (view.getUint16(entry, little) !== 0x0112) continue;
    const value = view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : null;
  }
  return null;
}

/**
 * Returns a PNG or WebP without its EXIF, so that every browser decodes it as it is stored.
 * @param {Uint8Array} bytes a whole file whose header was read
 * @param {string} format
 * @returns {Uint8Array} a copy; `bytes` of other formats
 */
export function withoutExif(bytes, format) {
  if (format === 'png') return pngWithoutExif(bytes);
  return format === 'webp' ? webpWithoutExif(bytes) : bytes;
}

function pngWithoutExif(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 12 + view.getUint32(at);
    if (textAt(bytes, at + 4, 4) !== 'eXIf') kept.push(bytes.subarray(at, end));
    at = end;
  }
  const out = new Uint8Array(kept.reduce((sum, part) => sum + part.length, 0));
  kept.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return out;
}

/** A chunk of an unknown name is passed over; what the file states of its chunks says no longer that there is EXIF. */
function webpWithoutExif(bytes) {
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  for (let at = 12; at + 8 <= out.length; ) {
    const name = textAt(out, at, 4);
    const length = view.getUint32(at + 4, true);
    if (name === 'EXIF') out.set([0x78, 0x78, 0x78, 0x78], at);
    if (name === 'VP8X') out[at + 8] &= ~8;
    at += 8 + length + (length % 2);
  }
  return out;
}

/**
 * Returns the canvas transform (a, b, c, d, e, f) that draws a stored picture as its EXIF orientation says.
 * @param {number} orientation 1..8
 * @param {number} width of the stored picture in pixels
 * @param {number} height
 */
export function uprightTransform(orientation, width, height) {
  const transforms = {
    1: [1, 0, 0, 1, 0, 0],
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, height, 0],
    7: [0, -1, -1, 0, height, width],
    8: [0, -1, 1, 0, 0, width],
  };
  return transforms[orientation];
}
