// From a photograph to the square crop that the model takes: a port of dr_edge/fundus/crop.py and
// dr_edge/fundus/read_crop.py. The photograph is read in strips of rows and never held as a whole.

import {checkKind} from './appearance.js';
import {findFov, halvings} from './fov.js';
import {NotFundusError} from './gradability.js';
import {withoutMargin} from './margins.js';
import {areaResize, halve, interpolate} from './resize.js';
import {STRIP, cropSquare} from './square.js';

const LEAST_SPAN = 1 / 3; // of the crop's side must the disc span in the photograph

/**
 * A photograph whose rows can be read: upright RGB bytes.
 * @typedef {object} Source
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {(top: number, bottom: number) => Uint8Array} rows 3 bytes per pixel of the rows top .. bottom - 1
 */

/**
 * Finds the field of view in a photograph and cuts the square around it.
 * @param {(denominator: number) => Source} reduced gives the photograph at 1/denominator of its size
 * @param {number} denominator 1, 2, 4 or 8: how far it may be reduced
 * @param {number} size side of the crop in pixels
 * @param {string[]} pictures the kinds that are taken, see appearance.js
 * @returns {{box: number[], rim: boolean, kind: string, covered: boolean, crop: {data: Uint8Array, width: number, height: number}}}
 *   box: top, left, bottom, right in pixels of the upright photograph, as slice bounds; may exceed it
 * @throws {import('./gradability.js').NotFundusError}
 */
export function cropPhotograph(reduced, denominator, size, pictures = ['colour']) {
  let source = reduced(denominator);
  checkSpan(Math.max(source.width, source.height) * denominator, size);
  let found = find(source);
  if (denominator > 1 && found.box[2] - found.box[0] < size) {
    // A small disc in a large frame.
    denominator = 1;
    source = reduced(1);
    found = find(source);
  }
  checkSpan((found.box[2] - found.box[0]) * denominator, size);
  checkKind(found.kind, pictures);
  const crop = cropSquare(withoutMargin(source, found.margin), found.box, size);
  const {rim, kind, covered} = found;
  return {box: found.box.map((edge) => edge * denominator), rim, kind, covered, crop};
}

function checkSpan(span, size) {
  if (span >= LEAST_SPAN * size) return;
  throw new NotFundusError(
    'too small',
    `the field of view spans ${span} px at most, and the model sees ${size} px: at least ${(LEAST_SPAN * size).toFixed(0)} px are needed. Use the original photograph.`,
  );
}

function find(source) {
  const times = halvings(source.width, source.height);
  return findFov(shrunk(source, times), 2 ** times);
}

/** Returns the photograph halved `times` times, each time rounded, as fov.py does. */
export function shrunk(source, times) {
  const factor = 2 ** times;
  const width = source.width >> times;
  const height = source.height >> times;
  const out = new Uint8Array(width * height * 3);
  const step = Math.max(factor, STRIP - (STRIP % factor));
  for (let top = 0, filled = 0; filled < height; top += step) {
    const bottom = Math.min(top + step, height * factor);
    let strip = {data: source.rows(top, bottom), width: source.width, height: bottom - top};
    for (let i = 0; i < times; i++) strip = halve(strip);
    out.set(strip.data, filled * width * 3);
    filled += strip.height;
  }
  return {data: out, width, height};
}

/** Resizes a square RGB crop for showing. */
export function resizeForShow(crop, size) {
  return crop.width >= size ? areaResize(crop, size) : interpolate(crop, size, {channels: 3});
}
