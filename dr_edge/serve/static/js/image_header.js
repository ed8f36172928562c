// What an image file says of itself before a pixel of it is decoded: a port of dr_edge/fundus/image_header.py.
//
// The type is decided by the content, a decompression bomb is seen before it goes off, and a file that was cut off is
// seen although browsers would show it half grey.

import {exifOrientation, textAt, tiffOrientation} from './exif.js';
import {MAX_SCANS, hasTooManyScans} from './jpeg_scans.js';

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
 * @returns {{format: string, width: number, height: number, orientation: number, bits: number}} size before any EXIF
 *   rotation, 0 of a HEIC, which only its decoder knows; the orientation that the EXIF of a JPEG, PNG or WebP states, else
 *   1; the bits of a sample
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
    if (header.format !== 'heic') checkSize(header.width, header.height);
    return {bits: 8, ...header};
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new PhotographError('truncated', `the ${bytes.length} bytes end inside the header. Choose it again.`);
  }
}

const HEIC_BRANDS = ['heic', 'heix', 'heim', 'heis', 'hevm', 'hevs'];

function parserOf(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return readJpeg;
  if (bytes[0] === 0x89 && textAt(bytes, 1, 3) === 'PNG') return readPng;
  if (textAt(bytes, 0, 2) === 'BM') return readBmp;
  if (textAt(bytes, 0, 4) === 'RIFF' && textAt(bytes, 8, 4) === 'WEBP') return readWebp;
  if (isHeic(bytes)) return readHeic;
  return null;
}

const brands = (bytes) => {
  const end = Math.min(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0), bytes.length);
  const found = [textAt(bytes, 8, 4)];
  for (let at = 16; at + 4 <= end; at += 4) found.push(textAt(bytes, at, 4));
  return found;
};

function isHeic(bytes) {
  if (textAt(bytes, 4, 4) !== 'ftyp') return false;
  const found = brands(bytes);
  return found.some((brand) => HEIC_BRANDS.includes(brand)) && !found.some((brand) => brand.startsWith('avi'));
}

function unsupported(bytes) {
  const start = textAt(bytes, 0, 4);
  if (['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].includes(start)) return 'it is a TIFF, which browsers do not show';
  if (textAt(bytes, 4, 4) === 'ftyp') return 'it is AVIF or a film';
  if (start === 'GIF8') return 'it is a GIF, which holds 256 colours at most';
  if (textAt(bytes, 4, 4) === 'jP  ' || start === '\xff\x4f\xff\x51') return 'it is JPEG 2000';
  if (start === '%PDF') return 'it is a PDF';
  return 'it is no JPEG, PNG, WebP or BMP';
}

/** Refuses a size below 16 pixels a side or above the limit in all. */
export function checkSize(width, height) {
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
  if (hasTooManyScans(bytes))
    throw new PhotographError('too many scans', `the JPEG has more than ${MAX_SCANS} scans. Save it anew.`);
  return {...header, orientation};
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
  let orientation = 1;
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
    if (name === 'eXIf') orientation = tiffOrientation(bytes, view, at + 8, at + 8 + length) ?? 1;
    if (name === 'fdAT') throw new PhotographError('unsupported format', 'an animated PNG. Save one picture of it.');
    if (name === 'IEND') return {format: 'png', width, height, orientation, bits: bytes[24]};
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

function readWebp(bytes, view) {
  const end = 8 + view.getUint32(4, true);
  if (end > bytes.length) throw new PhotographError('truncated', `the WebP states ${end} bytes. Choose it again.`);
  const animated = new PhotographError('unsupported format', 'an animated WebP. Save one picture of it as JPEG or PNG.');
  let canvas = null;
  let picture = null;
  let orientation = 1;
  for (let at = 12; at + 8 <= end; ) {
    const [name, length, body] = [textAt(bytes, at, 4), view.getUint32(at + 4, true), at + 8];
    if (body + length > end) throw new PhotographError('truncated', 'the WebP ends inside a chunk. Choose it again.');
    if (name === 'VP8X' && canvas === null) {
      const side = (start) => 1 + view.getUint16(start, true) + 65536 * view.getUint8(start + 2);
      canvas = [side(body + 4), side(body + 7)];
      if (bytes[body] & 2) throw animated;
    } else if (name === 'ANIM' || name === 'ANMF') {
      throw animated;
    } else if (name === 'VP8 ' || name === 'VP8L') {
      if (picture !== null) throw new PhotographError('corrupt', `the WebP holds a second picture at byte ${at}.`);
      picture = webpSize(view, name, body);
    } else if (name === 'EXIF') {
      const start = textAt(bytes, body, 6) === 'Exif\0\0' ? body + 6 : body;
      orientation = tiffOrientation(bytes, view, start, body + length) ?? 1;
    }
    at = body + length + (length % 2);
  }
  if (picture === null || (canvas !== null && String(canvas) !== String(picture)))
    throw new PhotographError('corrupt', `the WebP states ${canvas} pixels, its picture ${picture}. Store it anew.`);
  return {format: 'webp', width: picture[0], height: picture[1], orientation};
}

/** Returns [width, height] of the bit stream of a WebP. */
function webpSize(view, name, at) {
  const broken = new PhotographError('corrupt', "the WebP's picture does not begin as one.");
  if (name === 'VP8 ') {
    if (view.getUint8(at + 3) !== 0x9d || view.getUint16(at + 4) !== 0x012a) throw broken;
    return [view.getUint16(at + 6, true) & 0x3fff, view.getUint16(at + 8, true) & 0x3fff];
  }
  if (view.getUint8(at) !== 0x2f) throw broken;
  const packed = view.getUint32(at + 1, true);
  return [1 + (packed & 0x3fff), 1 + ((packed >>> 14) & 0x3fff)];
}

function readHeic(bytes, view) {
  let [at, count] = [0, 0];
  while (at < bytes.length) {
    let length = view.getUint32(at);
    view.getUint32(at + 4);
    if (length === 1) length = Number(view.getBigUint64(at + 8));
    else if (length === 0) break; // to the end of the file
    if (length < 8 && count) throw new PhotographError('corrupt', `a box of ${length} bytes at byte ${at} of the HEIC.`);
    [at, count] = [at + Math.max(length, 8), count + 1];
  }
  if (at > bytes.length) throw new PhotographError('truncated', `the HEIC's boxes need ${at} bytes. Choose it again.`);
  return {format: 'heic', width: 0, height: 0, orientation: 1};
}
