// Whether the picture data of a JPEG are whole: what libjpeg warns of while it decodes, which browsers keep to themselves.
//
// dr_edge/fundus/jpeg.py refuses such a file by the words of libjpeg. Here the data are read code by code as libjpeg reads
// them, without making a picture of them. Decoders for JavaScript would hold all pixels of a photograph in memory for that.

const [FRAME_FIRST, FRAME_LAST, PROGRESSIVE] = [0xc0, 0xc2, 0xc2];
const [TABLES, RESTARTS, SCAN, END] = [0xc4, 0xdd, 0xda, 0xd9];
const HARMLESS_BYTES = 3; // as in jpeg.py

/** Something is missing or garbled; the message says what. */
class Damage extends Error {}

/**
 * Returns what is wrong with the picture data of a JPEG, in libjpeg's words; '' where nothing is.
 * @param {Uint8Array} bytes a whole file whose header was read
 * @returns {string}
 */
export function jpegDamage(bytes) {
  try {
    walk(bytes);
    return '';
  } catch (error) {
    if (error instanceof RangeError) return 'premature end of JPEG file';
    if (!(error instanceof Damage)) throw error;
    return error.message;
  }
}

function walk(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tables = new Map();
  let frame = null;
  let interval = 0;
  for (let at = 2; ; ) {
    while (view.getUint8(at + 1) === 0xff) at++; // fill bytes
    const marker = view.getUint8(at + 1);
    if (marker === END) return;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const body = at + 4;
    at += 2 + view.getUint16(at + 2);
    if (marker === TABLES) readTables(view, body, at, tables);
    else if (marker === RESTARTS) interval = view.getUint16(body);
    else if (marker >= FRAME_FIRST && marker <= FRAME_LAST) frame = readFrame(view, body, marker);
    else if (marker === SCAN) at = readScan(new Bits(bytes, at), readScanHeader(view, body, frame, tables), interval, frame);
    else if (marker < 0xdb) throw new Damage(`unknown marker 0x${marker.toString(16)}`);
  }
}

/** Reads Huffman tables: 65,536 entries each, for the next 16 bits the length of the code and its symbol. */
function readTables(view, start, end, tables) {
  for (let at = start; at + 17 <= end; ) {
    const name = view.getUint8(at);
    const table = new Uint16Array(65536);
    let symbol = at + 17;
    let next = 0;
    for (let length = 1; length <= 16; length++) {
      const span = 1 << (16 - length);
      for (let n = view.getUint8(at + length); n > 0; n--, next += span) {
        if (next + span > 65536) throw new Damage('bogus Huffman table definition');
        table.fill((length << 8) | view.getUint8(symbol++), next, next + span);
      }
    }
    tables.set(name, table);
    at = symbol;
  }
}

function readFrame(view, at, marker) {
  const [height, width] = [view.getUint16(at + 1), view.getUint16(at + 3)];
  const components = [];
  for (let i = 0; i < view.getUint8(at + 5); i++) {
    const sampling = view.getUint8(at + 7 + 3 * i);
    components.push({id: view.getUint8(at + 6 + 3 * i), across: sampling >> 4, down: sampling & 15});
  }
  const most = (key) => Math.max(...components.map((one) => one[key]));
  const [across, down] = [most('across'), most('down')];
  const [columns, rows] = [Math.ceil(width / (8 * across)), Math.ceil(height / (8 * down))];
  for (const one of components) {
    if (!one.across || !one.down) throw new Damage('bogus sampling factors');
    one.stride = columns * one.across;
    one.columns = Math.ceil((width * one.across) / across / 8);
    one.rows = Math.ceil((height * one.down) / down / 8);
    // Which coefficients are not 0: later scans of a progressive JPEG add a bit to each of those.
    if (marker === PROGRESSIVE) one.known = new Uint32Array(2 * one.stride * rows * one.down);
    one.levels = new Int8Array(64).fill(-1); // of each coefficient the lowest bit that is known
  }
  return {progressive: marker === PROGRESSIVE, components, columns, rows};
}

function readScanHeader(view, at, frame, tables) {
  const count = view.getUint8(at);
  const parts = [];
  for (let i = 0; i < count; i++) {
    const component = frame.components.find((one) => one.id === view.getUint8(at + 1 + 2 * i));
    if (component === undefined) throw new Damage('a scan of an unknown component');
    const chosen = view.getUint8(at + 2 + 2 * i);
    parts.push({component, dc: tables.get(chosen >> 4), ac: tables.get(0x10 | (chosen & 15))});
  }
  const [first, last, levels] = [0, 1, 2].map((i) => view.getUint8(at + 1 + 2 * count + i));
  const scan = {parts, first, last, high: levels >> 4};
  const dc = !frame.progressive || (first === 0 && scan.high === 0);
  const ac = !frame.progressive || first > 0;
  if (parts.length === 0 || parts.some((part) => (dc && !part.dc) || (ac && !part.ac)))
    throw new Damage('Huffman table was not defined');
  if (frame.progressive && (last > 63 || first > last || (first === 0 && last > 0) || (first > 0 && count > 1)))
    throw new Damage('invalid progressive parameters');
  if (frame.progressive) checkProgression(scan, levels & 15);
  return scan;
}

/** Refuses a scan that adds bits to coefficients which the scans before it left in another state. */
function checkProgression({parts, first, last, high}, low) {
  for (const {component} of parts) {
    if (first > 0 && component.levels[0] < 0) throw new Damage('inconsistent progression sequence');
    for (let k = first; k <= last; k++) {
      if (high !== Math.max(0, component.levels[k])) throw new Damage('inconsistent progression sequence');
      component.levels[k] = low;
    }
  }
}

/** Reads the codes of a scan; returns the position of the marker behind it. */
function readScan(bits, scan, interval, frame) {
  const block = blockReader(bits, scan, frame);
  const {parts} = scan;
  const {component} = parts[0];
  const alone = parts.length === 1;
  const [columns, rows] = alone ? [component.columns, component.rows] : [frame.columns, frame.rows];
  let left = interval;
  for (let unit = 0, expected = 0; unit < columns * rows; unit++) {
    if (interval && left === 0) {
      bits.restart(expected);
      block.restart();
      expected = (expected + 1) % 8;
      left = interval;
    }
    left--;
    const [x, y] = [unit % columns, Math.floor(unit / columns)];
    if (alone) {
      block.read(parts[0], y * component.stride + x);
      continue;
    }
    for (const part of parts) {
      const {across, down, stride} = part.component;
      for (let v = 0; v < down; v++)
        for (let h = 0; h < across; h++) block.read(part, (y * down + v) * stride + x * across + h);
    }
  }
  return bits.end();
}

/** Returns what reads one block of a scan: {read(part, index of the block), restart()}. */
function blockReader(bits, {first, last, high}, {progressive}) {
  let run = 0; // blocks without coefficients that are still to come
  const endOfBlocks = (size) => (1 << size) + (size ? bits.take(size) : 0);
  const sequential = ({dc, ac}) => {
    bits.skip(bits.code(dc) & 15);
    for (let k = 1; k < 64; k++) {
      const symbol = bits.code(ac);
      if (symbol & 15) {
        k += symbol >> 4;
        bits.skip(symbol & 15);
      } else if (symbol === 0xf0) k += 15;
      else break;
    }
  };
  const firstOfAc = ({component: {known}, ac}, index) => {
    if (run > 0) {
      run--;
      return;
    }
    for (let k = first; k <= last; k++) {
      const symbol = bits.code(ac);
      if (symbol & 15) {
        k += symbol >> 4;
        bits.skip(symbol & 15);
        mark(known, index, k);
      } else if (symbol === 0xf0) k += 15;
      else {
        run = endOfBlocks(symbol >> 4) - 1;
        break;
      }
    }
  };
  const moreOfAc = ({component: {known}, ac}, index) => {
    let k = first;
    for (; run === 0 && k <= last; k++) {
      const symbol = bits.code(ac);
      const size = symbol & 15;
      let zeros = symbol >> 4;
      if (size > 1) throw new Damage('bad Huffman code');
      if (size) bits.skip(1);
      else if (zeros !== 15) {
        run = endOfBlocks(zeros);
        break;
      }
      for (; k <= last; k++) {
        if (isMarked(known, index, k)) bits.skip(1);
        else if (--zeros < 0) break;
      }
      if (size) mark(known, index, k);
    }
    if (run === 0) return;
    for (; k <= last; k++) if (isMarked(known, index, k)) bits.skip(1);
    run--;
  };
  const dcOnly = high ? () => bits.skip(1) : ({dc}) => bits.skip(bits.code(dc) & 15);
  const read = !progressive ? sequential : first === 0 ? dcOnly : high ? moreOfAc : firstOfAc;
  return {read, restart: () => (run = 0)};
}

function mark(known, index, k) {
  known[2 * index + (k > 31 ? 1 : 0)] |= 1 << (Math.min(k, 63) & 31);
}

function isMarked(known, index, k) {
  return known[2 * index + (k > 31 ? 1 : 0)] & (1 << (k & 31));
}

/** The bits of a scan, up to the next marker. */
class Bits {
  constructor(bytes, at) {
    [this.bytes, this.at] = [bytes, at];
    [this.held, this.count] = [0, 0];
  }

  fill() {
    const {bytes} = this;
    while (this.count <= 24 && this.at < bytes.length) {
      const value = bytes[this.at];
      if (value === 0xff) {
        let next = this.at + 1;
        while (bytes[next] === 0xff) next++; // fill bytes
        if (bytes[next] !== 0) return; // a marker
        this.at = next;
      }
      this.at++;
      this.held = (this.held << 8) | value;
      this.count += 8;
    }
  }

  /** Reads a Huffman code and returns its symbol. */
  code(table) {
    if (this.count < 16) this.fill();
    const next = this.count < 16 ? this.held << (16 - this.count) : this.held >>> (this.count - 16);
    const entry = table[next & 0xffff];
    const length = entry >> 8;
    if (length > this.count) throw new Damage('premature end of data segment');
    if (length === 0) throw new Damage(this.count < 16 ? 'premature end of data segment' : 'bad Huffman code');
    this.count -= length;
    return entry & 0xff;
  }

  skip(size) {
    if (this.count < size) this.fill();
    if (this.count < size) throw new Damage('premature end of data segment');
    this.count -= size;
  }

  take(size) {
    this.skip(size);
    return (this.held >>> this.count) & ((1 << size) - 1);
  }

  /** Passes the restart marker that must stand here. */
  restart(expected) {
    const marker = this.pass();
    if (this.unread > 0) throw new Damage(`${this.unread} extraneous bytes before marker 0x${marker.toString(16)}`);
    if (marker !== 0xd0 + expected) throw new Damage(`found marker 0x${marker.toString(16)} instead of RST${expected}`);
    this.at += 2;
  }

  /** Returns where the marker behind the scan stands. */
  end() {
    const from = this.at - (this.count >> 3);
    const marker = this.pass();
    const rest = this.bytes.subarray(from, this.at);
    const harmless = marker === END && (this.unread <= HARMLESS_BYTES || rest.every((value) => value === rest[0]));
    if (this.unread > 0 && !harmless) throw new Damage(`${this.unread} extraneous bytes before marker 0x${marker.toString(16)}`);
    return this.at;
  }

  /** Goes on to the next marker and returns it; `unread` is how many bytes nobody read. */
  pass() {
    const {bytes} = this;
    this.unread = this.count >> 3;
    this.count = 0;
    for (; this.at + 1 < bytes.length; this.at++) {
      const next = bytes[this.at + 1];
      if (bytes[this.at] === 0xff && next !== 0 && next !== 0xff) return next;
      if (bytes[this.at] !== 0xff) this.unread++;
    }
    throw new Damage('premature end of JPEG file');
  }
}
