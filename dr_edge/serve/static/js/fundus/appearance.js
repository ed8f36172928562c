// Says what kind of picture a fundus photograph is: a port of dr_edge/fundus/appearance.py, which says why each number is what it is.

import {gaussianBlur} from './filters.js';
import {NotFundusError} from './gradability.js';
import {brightest, count, discMask, histogram, meanWhere, percentile} from './picture.js';

export const PROBE_SIDE = 96;
export const KINDS = ['colour', 'greyscale', 'normalised'];
export const [COLOUR, GREYSCALE, NORMALISED] = KINDS;
export const ORDERS = ['RBG', 'GRB', 'GBR', 'BRG', 'BGR'];
export const RED_ALONE = 'red alone';
const TAKEN = {graham: [COLOUR], grey: [COLOUR, GREYSCALE], crop: KINDS};
const LEAST_SHARE = 0.1;
const LIT = 12;
const LEAST_LIT = 0.05;
const GREY = 0.03;
const ONE_TINT = 0.0036;
const ONE_CHANNEL = 0.1;
const CLIPPED = 250;
const LEVEL = [14.7, -1.9, -12.8];
const DETAIL = [6.8, 2.7, -9.4];
const ORDER_LIMITS = [1.4, 1.4, 1.2, 1.2, 1.2];
const DARK_LIMITS = [1.4, 3.3, 1.2, 3.3, 1.2];
const DARK = 65;
const BLUER = 8;
const FLAT = [-7.7, 5.7, 9.3, -8.8];
const FLAT_OFFSET = 10.8;
const FLAT_LIMIT = 1.5;

/**
 * Returns the kinds of pictures that a model takes.
 * @param {string} method preprocessing of its records
 * @param {Record<string, number> | null | undefined} counts how many of its records are of each kind
 * @returns {string[]}
 */
export function wanted(method, counts) {
  const taken = TAKEN[method];
  const total = Object.values(counts ?? {}).reduce((sum, one) => sum + one, 0);
  if (method !== 'crop' || total === 0) return taken;
  return taken.filter((kind) => (counts[kind] ?? 0) >= LEAST_SHARE * total);
}

/** Throws NotFundusError where a picture's kind is none of `pictures`, with what to do. */
export function checkKind(kind, pictures) {
  if (pictures.includes(kind)) return;
  if (kind === RED_ALONE) {
    throw new NotFundusError('colours', 'only its red channel holds a picture. Store the photograph as red, green, blue.');
  }
  if (ORDERS.includes(kind)) {
    throw new NotFundusError(
      'colours',
      `they are no retina's: the channels look stored in the order ${kind}, or inverted. Store the photograph as red, green, blue.`,
    );
  }
  if (kind === NORMALISED && pictures.includes(COLOUR)) {
    throw new NotFundusError(
      'already normalised',
      'its local average is grey all over the disc, as Graham normalisation leaves it, and it would be normalised a second time. Use the original photograph.',
    );
  }
  if (kind === GREYSCALE) {
    throw new NotFundusError('greyscale', 'it has no colour, and the model was trained with it. Use the colour photograph.');
  }
  throw new NotFundusError('another kind', `it is ${kind}; the model was trained on pictures that are ${pictures.join(' or ')}.`);
}

/**
 * Returns the kind of a fundus photograph, one of KINDS; or RED_ALONE or one of ORDERS where its colours are no retina's.
 * @param {{data: Uint8Array, width: number, height: number}} probe RGB, PROBE_SIDE squared
 */
export function appearance(probe) {
  const bright = brightest(probe).data;
  const lit = discMask(PROBE_SIDE, 0.9).map((inside, i) => (inside && bright[i] > LIT ? 1 : 0));
  if (count(lit) < LEAST_LIT * count(discMask(PROBE_SIDE))) return COLOUR;
  const channels = [0, 1, 2].map((c) => Float32Array.from(bright, (_, i) => probe.data[3 * i + c]));
  const [near, far] = [0.08, 0.25].map((share) => localAverages(channels, lit, (share * PROBE_SIDE) / 2));
  const middle = discMask(PROBE_SIDE, 0.65).map((inside, i) => (inside && lit[i] ? 1 : 0));
  const [red, green, blue] = channels.map((channel) => meanWhere(channel, lit));
  if (green < ONE_CHANNEL * red && blue < ONE_CHANNEL * red) return RED_ALONE;
  if (saturation(probe, lit) < GREY || tints(channels, lit) < ONE_TINT) return GREYSCALE; // normalised or not: without colour that cannot be told
  if (flatness(channels, near, far, middle) > FLAT_LIMIT) return NORMALISED;
  return order(channels, near, lit, bright) || COLOUR;
}

function saturation(probe, lit) {
  let [sum, total] = [0, 0];
  for (let i = 0; i < lit.length; i++) {
    if (!lit[i]) continue;
    const pixel = [probe.data[3 * i], probe.data[3 * i + 1], probe.data[3 * i + 2]];
    const high = Math.max(...pixel);
    sum += (high - Math.min(...pixel)) / high;
    total++;
  }
  return sum / total;
}

/** Returns how much the colours differ beside light and dark. */
function tints(channels, lit) {
  const away = channels.map((channel) => {
    const mean = meanWhere(channel, lit);
    return channel.map((value) => value - mean);
  });
  const spread = (a, b) =>
    meanWhere(
      away[a].map((value, i) => value * away[b][i]),
      lit,
    );
  const [rr, gg, bb] = [spread(0, 0), spread(1, 1), spread(2, 2)];
  const pairs = rr * gg + rr * bb + gg * bb - spread(0, 1) ** 2 - spread(0, 2) ** 2 - spread(1, 2) ** 2;
  return pairs / Math.max((rr + gg + bb) ** 2, 1e-6);
}

/** Returns the Gaussian average of each channel over what is lit. */
function localAverages(channels, lit, sigma) {
  const size = {width: PROBE_SIDE, height: PROBE_SIDE};
  const weight = gaussianBlur({data: Float32Array.from(lit), ...size}, sigma).data;
  return channels.map((channel) => {
    const sums = gaussianBlur({data: channel.map((value, i) => (lit[i] ? value : 0)), ...size}, sigma).data;
    return sums.map((value, i) => value / Math.max(weight[i], 1e-3));
  });
}

function deviation(values, inside) {
  const mean = meanWhere(values, inside);
  return Math.sqrt(
    meanWhere(
      values.map((value) => (value - mean) ** 2),
      inside,
    ),
  );
}

function flatness(channels, near, far, inside) {
  if (count(inside) < 50) return -Infinity;
  const average = (parts) => parts.reduce((sum, part) => sum + deviation(part, inside), 0) / 3;
  const away = channels.map((channel) => {
    const levels = {data: Uint8Array.from(channel), width: PROBE_SIDE, height: PROBE_SIDE};
    return Math.abs(percentile(histogram(levels, 1, inside), 50) - 128);
  });
  const difference = (first, second) => first.map((part, c) => part.map((value, i) => value - second[c][i]));
  const features = [
    Math.max(...away) + 5,
    average(difference(channels, near)) + 1,
    average(difference(near, far)) + 1,
    average(far) + 1,
  ];
  return features.reduce((sum, value, k) => sum + FLAT[k] * Math.log(value), FLAT_OFFSET);
}

/** Returns the order of the channels that explains the colours far better than red, green, blue; '' where none does. */
function order(channels, near, lit, bright) {
  const mean = channels.map((channel) => meanWhere(channel, lit));
  if (mean[2] - mean[0] > BLUER) return 'BGR';
  const clear = lit.map((inside, i) => (inside && bright[i] < CLIPPED ? 1 : 0));
  const burnt = count(clear) < 0.25 * count(lit);
  const level = mean.map((value) => Math.log(value + 30));
  const detail = channels.map((channel, c) => {
    if (burnt) return 0;
    const away = channel.map((value, i) => Math.abs(value - near[c][i]));
    return Math.log(meanWhere(away, clear) + 1);
  });
  const score = (from) => from.reduce((sum, c, k) => sum + LEVEL[k] * level[c] + DETAIL[k] * detail[c], 0);
  const asItIs = score([0, 1, 2]);
  const limits = Math.max(...mean) < DARK ? DARK_LIMITS : ORDER_LIMITS;
  const gains = ORDERS.map((name, k) => score([...'RGB'].map((channel) => name.indexOf(channel))) - asItIs - limits[k]);
  const best = gains.indexOf(Math.max(...gains));
  return gains[best] > 0 ? ORDERS[best] : '';
}
