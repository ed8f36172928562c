// Decodes a photograph with the browser's own decoder, upright, and gives its rows as RGB bytes.
//
// As dr_edge/fundus/photograph.py: EXIF orientation is applied, colour profiles are not, transparency lies over black,
// and a JPEG is reduced to 1/2, 1/4 or 1/8 where no more is needed (libjpeg's reduced decoding averages exactly those
// blocks). Only strips of rows ever stand in memory as bytes, so that 40 megapixels do not end a phone's browser.

import {uprightTransform, withoutExif} from './exif.js';
import {roundHalfEven} from './fundus/picture.js';
import {PhotographError, checkSize, readHeader} from './image_header.js';
import {jpegDamage} from './jpeg_data.js';
import {sha256} from './sha256.js';

const MARGIN = 1.1; // as dr_edge/fundus/locate.py: a little more than the crop needs, for the area filter to work on
const STRIP = 256; // rows

/**
 * Decodes a photograph.
 * @param {Blob} file
 * @param {number} size side of the crop that will be cut, in pixels
 * @returns {Promise<{bitmap: ImageBitmap, width: number, height: number, denominator: number,
 *   reduced: (denominator: number) => import('./fundus/crop.js').Source, sha256: string}>}
 * @throws {PhotographError}
 */
export async function openPhotograph(file, size) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const header = readHeader(bytes);
  if (header.format === 'jpeg') checkJpeg(bytes);
  const hash = await sha256(bytes);
  const orientation = header.format === 'jpeg' ? 1 : header.orientation; // every browser turns a JPEG itself
  let bitmap;
  try {
    const options = {imageOrientation: 'from-image', colorSpaceConversion: 'none', premultiplyAlpha: 'default'};
    bitmap = await createImageBitmap(
      new Blob([withoutExif(bytes, header.format)], {type: `image/${header.format}`}),
      options,
    );
  } catch (error) {
    if (header.format === 'heic') {
      const words = 'this browser cannot show HEIC. Save it as JPEG (iPhone: Settings, Camera, Formats, Most Compatible).';
      throw new PhotographError('unsupported format', words);
    }
    throw new PhotographError('corrupt', `the ${header.format} cannot be decoded by this browser (${error.message}).`);
  }
  const [width, height] = orientation > 4 ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  checkSize(width, height);
  const full = {width, height, rows: stripReader(bitmap, orientation)};
  if (header.bits === 16) checkBrightness(full);
  const kept = new Map([[1, full]]);
  const reduced = (denominator) => {
    if (!kept.has(denominator)) kept.set(denominator, averaged(full, denominator, header.orientation));
    return kept.get(denominator);
  };
  return {bitmap, width, height, denominator: denominatorFor(header, size), reduced, sha256: hash};
}

function checkJpeg(bytes) {
  const damage = jpegDamage(bytes);
  if (!damage) return;
  const words = `part of the picture is missing or garbled (${damage}). Copy or fetch the file again.`;
  throw new PhotographError('damaged JPEG data', words);
}

/** Refuses a 16-bit picture that holds 14 bits or fewer and would be nearly black: dr_edge/fundus/sixteen_bits.py. */
export function checkBrightness(source) {
  let [brightest, lit, bright] = [0, 0, 0];
  for (let top = 0; top < source.height; top += STRIP) {
    const strip = source.rows(top, Math.min(source.height, top + STRIP));
    for (const value of strip) {
      if (value > brightest) brightest = value;
      if (value > 0) lit++;
      if (value > 16) bright++;
    }
  }
  if (brightest > 64 && bright >= lit / 1000) return;
  const words = 'fewer bits stored in 16, or a picture that is nearly black. Save it as 8-bit, from the range of its values.';
  throw new PhotographError('unsupported format', words);
}

/** Returns how far a photograph may be reduced for a crop of `size` pixels: JPEG only, as in Python. */
function denominatorFor(header, size) {
  if (header.format !== 'jpeg') return 1;
  const shorter = Math.min(header.width, header.height);
  return [8, 4, 2].find((denominator) => Math.floor(shorter / denominator) >= Math.round(size * MARGIN)) ?? 1;
}

/** Returns a function that reads rows top .. bottom - 1 of a picture, upright, as RGB bytes, laid over black. */
function stripReader(bitmap, orientation) {
  const width = orientation > 4 ? bitmap.height : bitmap.width;
  const [a, b, c, d, e, f] = uprightTransform(orientation, bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(width, STRIP);
  const context = canvas.getContext('2d', {alpha: false, willReadFrequently: true});
  if (context === null)
    throw new PhotographError('no canvas', 'this browser gives no more memory for pictures. Close other pages.');
  context.imageSmoothingEnabled = false;
  return (top, bottom) => {
    const out = new Uint8Array(width * (bottom - top) * 3);
    for (let start = top, o = 0; start < bottom; start += STRIP) {
      const rows = Math.min(STRIP, bottom - start);
      context.resetTransform();
      context.fillStyle = 'black';
      context.fillRect(0, 0, width, rows);
      if (orientation === 1) {
        context.drawImage(bitmap, 0, start, width, rows, 0, 0, width, rows);
      } else {
        context.setTransform(a, b, c, d, e, f - start);
        context.drawImage(bitmap, 0, 0);
      }
      const rgba = context.getImageData(0, 0, width, rows).data;
      for (let i = 0; i < rgba.length; i += 4) {
        out[o++] = rgba[i];
        out[o++] = rgba[i + 1];
        out[o++] = rgba[i + 2];
      }
    }
    return out;
  };
}

/**
 * Reduces a photograph by averaging blocks of `step` x `step` pixels; the last ones average what there is.
 *
 * The decoder's blocks begin at the corner where the file begins: in a photograph that EXIF turns or mirrors, the blocks
 * that are not whole lie at the left or at the top.
 * @param {import('./fundus/crop.js').Source} source upright
 * @param {number} step 2 or more
 * @param {number} orientation EXIF, 1..8
 * @returns {import('./fundus/crop.js').Source}
 */
export function averaged(source, step, orientation = 1) {
  const columns = edges(source.width, step, [2, 3, 6, 7].includes(orientation));
  const lines = edges(source.height, step, [3, 4, 7, 8].includes(orientation));
  const [width, height] = [columns.length - 1, lines.length - 1];
  const data = new Uint8Array(width * height * 3);
  const sums = new Uint32Array(width * 3);
  const perStrip = Math.max(1, Math.floor(STRIP / step)); // rows of the result that one strip gives
  for (let first = 0; first < height; first += perStrip) {
    const last = Math.min(height, first + perStrip);
    const strip = source.rows(lines[first], lines[last]);
    for (let y = first, i = 0; y < last; y++) {
      sums.fill(0);
      for (let row = lines[y]; row < lines[y + 1]; row++) {
        for (let x = 0, o = 0; x < width; x++, o += 3) {
          for (const end = i + 3 * (columns[x + 1] - columns[x]); i < end; i += 3) {
            sums[o] += strip[i];
            sums[o + 1] += strip[i + 1];
            sums[o + 2] += strip[i + 2];
          }
        }
      }
      for (let x = 0; x < width; x++) {
        const pixels = (lines[y + 1] - lines[y]) * (columns[x + 1] - columns[x]);
        for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = roundHalfEven(sums[x * 3 + c] / pixels);
      }
    }
  }
  return {width, height, rows: (top, bottom) => data.subarray(top * width * 3, bottom * width * 3)};
}

/** Returns where blocks of `step` pixels begin and end on an axis, counted from its end where `fromEnd`. */
function edges(length, step, fromEnd) {
  const count = Math.ceil(length / step);
  if (!fromEnd) return Array.from({length: count + 1}, (_, i) => Math.min(length, i * step));
  return Array.from({length: count + 1}, (_, i) => Math.max(0, length - (count - i) * step));
}
