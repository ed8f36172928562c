// What an image file says of itself before a pixel of it is decoded: a port of dr_edge/fundus/image_header.py.
//
// The type is decided by the content, a decompression bomb is seen before it goes off, and a file that was cut off is
// seen although browsers would show it half grey.

export const MAX_PIXELS = 100_000_000;
const SMALLEST_SIDE = 16;

/** A file that cannot be taken as a photograph; `reason` is short and stable. */
export class PhotographError extends Error {
  constructor(reason, detail) {
    super(`${reason}: ${detail}`);
    this.name = 'PhotographError';
    this.reason = reason;
  }
}

/**
 * Returns type and stored size of an image file, and checks that the file is whole.
 * @param {Uint8Array} bytes the whole file
 * @returns {{format: string, width: number, height: number, orientation: number}} size before any EXIF rotation; the
 *   orientation that a JPEG's EXIF states, else 1
 * @throws {PhotographError}
 */
export function readHeader(bytes) {
  if (bytes.length === 0) throw new PhotographError('empty file', 'it holds zero bytes. Choose it again.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    const parse = parserOf(bytes);
    if (parse === null) {
      const known = textAt(bytes, 128, 4) === 'DICM' ? 'it is a DICOM file' : unsupported(bytes);
      throw new PhotographError('unsupported format', `${known}. Save it as JPEG or PNG and choose that.`);
    }
    const header = parse(bytes, view);
    checkSize(header.width, header.height);
    return header;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new PhotographError('truncated', `the ${bytes.length} bytes end inside the header. Choose it again.`);
  }
}

function parserOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return readJpeg;
  if (bytes[0] === 0x89 && textAt(bytes, 1, 3) === 'PNG') return readPng;
  if (textAt(bytes, 0, 2) === 'BM') return readBmp;
  return null;
}

function unsupported(bytes) {
  const start = textAt(bytes, 0, 4);
  if (start === 'II*\0' || start === 'MM\0*') return 'it is a TIFF, which browsers do not show';
  if (textAt(bytes, 4, 4) === 'ftyp') return 'it is HEIC, AVIF or a film';
  if (start === '%PDF') return 'it is a PDF';
  return 'it is no JPEG, PNG or BMP';
}

function textAt(bytes, start, length) {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}

function checkSize(width, height) {
  if (width * height > MAX_PIXELS) {
    throw new PhotographError(
      'too many pixels',
      `${width}x${height} is more than the limit of ${MAX_PIXELS}; it was not decoded.`,
    );
  }
  if (Math.min(width, height) < SMALLEST_SIDE) {
    throw new PhotographError('too small', `${width}x${height}. At least ${SMALLEST_SIDE} pixels a side are needed.`);
  }
}

const isFrame = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

// Markers that stand alone. Decoders pass over them; who takes the next two bytes for a length skips the real picture.
const standsAlone = (marker) => marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);

function readJpeg(bytes, view) {
  let header = null;
  let orientation = 1;
  let at = 2;
  for (;;) {
    while (view.getUint8(at) === 0xff && view.getUint8(at + 1) === 0xff) at++; // fill bytes are legal before a marker
    if (view.getUint8(at) !== 0xff) throw new PhotographError('corrupt', `a JPEG marker was expected at byte ${at}.`);
    const marker = view.getUint8(at + 1);
    if (marker === 0xd9) break;
    if (standsAlone(marker)) throw new PhotographError('corrupt', `a JPEG segment was expected at byte ${at}.`);
    const length = view.getUint16(at + 2);
    if (marker === 0xe1) orientation = exifOrientation(bytes, view, at + 4, length - 2) ?? orientation;
    if (isFrame(marker)) {
      if (header !== null) throw new PhotographError('corrupt', `the JPEG holds a second frame header at byte ${at}.`);
      const [precision, height, width] = [view.getUint8(at + 4), view.getUint16(at + 5), view.getUint16(at + 7)];
      if (marker > 0xc2 || precision !== 8 || !height || !width) {
        throw new PhotographError(
          'unsupported format',
          `a JPEG of ${precision} bit, process ${marker.toString(16)}. Convert it.`,
        );
      }
      header = {format: 'jpeg', width, height};
    }
    at += 2 + length;
    if (marker === 0xda) {
      if (header === null) throw new PhotographError('corrupt', 'a JPEG scan stands before the frame header.');
      at = endOfScan(bytes, at);
      if (at < 0)
        throw new PhotographError('truncated', 'the JPEG ends without its end-of-image marker. Choose it again.');
    }
  }
  if (header === null) throw new PhotographError('corrupt', 'the JPEG holds no frame header.');
  return {...header, orientation};
}

/** Returns the orientation (1..8) that an EXIF segment states, or null; what is damaged states none. */
function exifOrientation(bytes, view, start, length) {
  if (textAt(bytes, start, 6) !== 'Exif\0\0' || length < 14 || start + length > bytes.length) return null;
  const tiff = start + 6;
  const little = textAt(bytes, tiff, 2) === 'II';
  const directory = tiff + view.getUint32(tiff + 4, little);
  if (directory + 2 > start + length) return null;
  for (let i = 0; i < view.getUint16(directory, little); i++) {
    const entry = directory + 2 + 12 * i;
    if (entry + 12 > start + length) return null;
    if (view.getUint16(entry, little) !== 0x0112) continue;
    const value = view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : null;
  }
  return null;
}

/** Returns the position of the marker that ends a scan, or -1. */
function endOfScan(bytes, start) {
  // Most files are one scan and end with it: look at the end first, and spare the search of megabytes.
  let end = bytes.length;
  while (end > start && bytes[end - 1] === 0) end--;
  if (end - 2 >= start && bytes[end - 2] === 0xff && bytes[end - 1] === 0xd9) return end - 2;
  for (let at = start; at + 1 < bytes.length; at++) {
    if (bytes[at] !== 0xff) continue;
    const next = bytes[at + 1];
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return at;
  }
  return -1;
}

function readPng(bytes, view) {
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (textAt(bytes, 12, 4) !== 'IHDR' || !width || !height)
    throw new PhotographError('corrupt', "the PNG's first chunk is no valid IHDR.");
  for (let at = 8; ;) {
    const length = at + 12 <= bytes.length ? view.getUint32(at) : Infinity;
    if (at + 12 + length > bytes.length)
      throw new PhotographError(
        'truncated',
        `the PNG's ${bytes.length} bytes end before its IEND chunk. Choose it again.`,
      );
    const name = textAt(bytes, at + 4, 4);
    if (checksum(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) {
      throw new PhotographError('corrupt', `the checksum of the PNG's ${name} chunk does not match.`);
    }
    if (name === 'IEND') return {format: 'png', width, height, orientation: 1};
    at += 12 + length;
  }
}

const CRC = Uint32Array.from({length: 256}, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** Returns the CRC-32 of bytes. */
export function checksum(bytes) {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = CRC[(value ^ bytes[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

function readBmp(bytes, view) {
  const pixelsAt = view.getUint32(10, true);
  const headerSize = view.getUint32(14, true);
  if (14 + headerSize > bytes.length)
    throw new PhotographError('truncated', `the ${bytes.length} bytes end inside the header. Choose it again.`);
  const old = headerSize === 12;
  const width = Math.abs(old ? view.getUint16(18, true) : view.getInt32(18, true));
  const height = Math.abs(old ? view.getUint16(20, true) : view.getInt32(22, true));
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  if (!width || !height) throw new PhotographError('corrupt', `the BMP names a size of ${width}x${height}.`);
  const needed = pixelsAt + Math.floor((width * bits + 31) / 32) * 4 * height;
  if ((compression === 0 || compression === 3) && bytes.length < needed) {
    throw new PhotographError('truncated', `the BMP needs ${needed} bytes, it has ${bytes.length}. Choose it again.`);
  }
  return {format: 'bmp', width, height, orientation: 1};
}
