// How gradable a cropped photograph is: a port of dr_edge/fundus/quality.py, which says why each number is what it is.

import {boxBlur5, erodeEllipse, gaussianBlur} from './filters.js';
import {brightest, count, discMask, histogram, meanWhere, percentile, weighted} from './picture.js';
import {areaResize, interpolate} from './resize.js';

const SIDE = 256;
const LIT = 10;
const FOCUS = [0.0017, 0.0125];
const CONTRAST = [0.007, 0.047];
const BRIGHTNESS = [8, 50];
const FOV_FRACTION = [0.2, 0.7];

/**
 * Measures the gradability of a cropped photograph.
 * @param {{data: Uint8Array, width: number, height: number}} crop square RGB, at least 32 pixels
 * @returns {{focus: number, contrast: number, illumination: number, fov_fraction: number, colour: number,
 *   score: number}} each 0..1, higher is better
 */
export function quality(crop) {
  const picture =
    crop.width === SIDE
      ? crop
      : crop.width > SIDE
        ? areaResize(crop, SIDE)
        : interpolate(crop, SIDE, {channels: 3, cubic: true});
  const disc = discMask(SIDE, 0.96);
  const brightness = brightest(boxBlur5(picture, 3));
  const lit = disc.map((inside, i) => (inside && brightness.data[i] > LIT ? 1 : 0));
  const seen = count(lit) / count(disc);
  const inside = awayFromRim(lit, brightness);
  if (count(inside) < 0.02 * count(disc)) {
    return {focus: 0, contrast: 0, illumination: 0, fov_fraction: seen, colour: 0, score: 0};
  }
  const [fine, detail] = weberDetail(picture, inside);
  const focus = between(Math.log(Math.max(fine, 1e-6)), ...FOCUS.map(Math.log));
  const contrast = between(Math.log(Math.max(detail, 1e-6)), ...CONTRAST.map(Math.log));
  const illumination = illuminated(picture, disc);
  const colour = saturation(picture, inside);
  const score = Math.cbrt(focus * focus * contrast) * illumination * between(seen, ...FOV_FRACTION);
  return {focus, contrast, illumination, fov_fraction: seen, colour, score};
}

function between(value, low, high) {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/** Returns what lies at least 12 pixels inside the rim, so that a blurred rim is no detail. */
function awayFromRim(lit, brightness) {
  const least = 0.3 * percentile(histogram(brightness, 1, lit), 50); // NaN where nothing is lit: nothing is inside
  return erodeEllipse(
    lit.map((value, i) => (value && brightness.data[i] > least ? 1 : 0)),
    SIDE,
    25,
  );
}

/** Returns the mean deviation of the fine band and of all detail, relative to the local brightness. */
function weberDetail(picture, inside) {
  const brightness = weighted(picture, 0.4, 0.6, 0).data; // blue carries mostly noise
  const around = gaussianBlur(quartered(brightness.map((value, i) => (inside[i] ? value : 0))), 2);
  const covered = gaussianBlur(quartered(Float32Array.from(inside)), 2);
  around.data = around.data.map((value, i) => value / Math.max(covered.data[i], 1e-3));
  const local = interpolate(around, SIDE).data;
  // 20: below it the camera's noise would count as detail.
  const relative = brightness.map((value, i) => (inside[i] ? (value - local[i]) / (local[i] + 20) : 0));
  const field = {data: relative, width: SIDE, height: SIDE};
  const narrow = gaussianBlur(field, 1.4).data;
  const wide = gaussianBlur(field, 2.8).data;
  return [
    meanDeviation(
      narrow.map((value, i) => value - wide[i]),
      inside,
    ),
    meanDeviation(relative, inside),
  ];
}

function quartered(values) {
  const side = SIDE / 4;
  const out = new Float32Array(side * side);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) out[(y >> 2) * side + (x >> 2)] += values[y * SIDE + x] / 16;
  }
  return {data: out, width: side, height: side};
}

/** Returns the mean distance from the mean, which a bright optic disc sways less than a standard deviation. */
function meanDeviation(values, inside) {
  const mean = meanWhere(values, inside);
  return meanWhere(
    values.map((value) => Math.abs(value - mean)),
    inside,
  );
}

/** Returns the mean over the lit disc of how well a place is lit, 0 (black or burnt out) .. 1. */
function illuminated(picture, disc) {
  const luminance = boxBlur5(weighted(picture, 0.299, 0.587, 0.114)).data;
  const bright = brightest(picture).data;
  const well = luminance.map((value) => between(value, ...BRIGHTNESS) * Math.min(1, Math.max(0, (255 - value) / 25)));
  return meanWhere(
    well,
    disc.map((inside, i) => (inside && bright[i] > LIT >> 1 ? 1 : 0)),
  );
}

function saturation(picture, inside) {
  const {data} = picture;
  const values = Float32Array.from(inside, (_, i) => {
    const [red, green, blue] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    const high = Math.max(red, green, blue);
    return (high - Math.min(red, green, blue)) / Math.max(high, 1);
  });
  return meanWhere(values, inside);
}
