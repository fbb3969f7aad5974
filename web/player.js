// One picture of a live stream: a WebSocket brings fragmented MP4 for MediaSource; browsers without
// it get the same stream as JPEG pictures.

const kKeptSeconds = 20;      // of played video in the buffer
const kRecordedBytes = 256e6;

// The boxes of a piece of MP4: [type, first byte, byte behind the end].
function* boxes(view, at, end) {
  while (at + 8 <= end) {
    const size = view.getUint32(at);
    const type = String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at + 4, 4));
    if (size < 8 || at + size > end) return;
    yield [type, at, at + size];
    at += size;
  }
}

// Where the first fragment begins: behind ftyp and moov, 0 if the piece has none.
function headerLength(bytes) {
  let length = 0;
  for (const [type, , end] of boxes(new DataView(bytes), 0, bytes.byteLength)) {
    if (type !== 'ftyp' && type !== 'moov') break;
    length = end;
  }
  return length;
}

// The position of the fragment's decode time (moof, traf, tfdt), a 64-bit number; -1 if it has none.
function decodeTimePosition(view) {
  for (const [type, at, end] of boxes(view, 0, view.byteLength)) {
    if (type !== 'moof') continue;
    for (const [inner, begin, close] of boxes(view, at + 8, end)) {
      if (inner !== 'traf') continue;
      for (const [name, first] of boxes(view, begin + 8, close)) {
        if (name === 'tfdt' && view.getUint8(first + 8) === 1) return first + 12;
      }
    }
  }
  return -1;
}

// Every fragment begins with a whole picture, so a recording may begin with any; its clock begins at 0.
class Recording {
  constructor(header) {
    this.pieces = [header];
    this.size = header.byteLength;
    this.begin = null;
  }
  add(bytes) {
    const fragment = bytes.slice(headerLength(bytes));
    const view = new DataView(fragment);
    const at = decodeTimePosition(view);
    if (at >= 0) {
      const time = view.getBigUint64(at);
      this.begin ??= time;
      view.setBigUint64(at, time - this.begin);
    }
    this.pieces.push(fragment);
    this.size += fragment.byteLength;
    return this.size < kRecordedBytes;
  }
  get empty() { return this.pieces.length === 1; }
  blob() { return new Blob(this.pieces, {type: 'video/mp4'}); }
}

export class Player {
  // `on`: hello, chunk, error, end and recorded(blob), all optional.
  constructor(video, pictures, on) {
    this.video = video;
    this.pictures = pictures;
    this.on = on;
    this.hello = null;
    this.running = false;
    this.paused = false;
    this.buffer = null;    // SourceBuffer
    this.waiting = [];     // fragments that it has not taken yet
    this.header = null;    // the MP4's beginning
    this.recording = null;
    this.reason = '';
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    this.socket = new WebSocket(`${scheme}//${location.host}/v1/live`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = (event) => {
      if (typeof event.data === 'string') this.receive(JSON.parse(event.data));
      else this.take(event.data);
    };
    this.socket.onclose = () => this.ended();
    // The stream waits for a viewer that is far behind, so that changes show soon.
    this.ticking = setInterval(() => this.tellPosition(), 250);
  }

  get playsVideo() { return this.source !== undefined; }

  start(settings) {
    if (!this.playsVideo) {
      this.pictures.hidden = false;
      this.video.hidden = true;
      this.pictures.src = `/v1/live.mjpeg?${new URLSearchParams(settings)}`;
      return;
    }
    this.setPaused(false);
    this.tellPosition();  // before: a fast server would run far ahead
    this.send({type: 'start', ...settings});
  }
  change(settings) { this.send({type: 'change', ...settings}); }
  setPaused(paused) {
    if (paused !== this.paused) this.change({paused});
    this.paused = paused;
    if (paused) this.video.pause(); else this.play();
  }
  record() { this.recording = new Recording(this.header); }
  stopRecording() {
    const recording = this.recording;
    this.recording = null;
    if (recording !== null && !recording.empty) this.on.recorded?.(recording.blob());
  }
  close() {
    clearInterval(this.ticking);
    this.socket.onclose = null;
    this.socket.close();
    this.stopRecording();
    this.video.removeAttribute('src');
    this.video.load();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  receive(message) {
    if (message.type === 'hello') this.open(message);
    if (message.type === 'chunk') {
      this.running = true;
      this.on.chunk?.(message);
    }
    if (message.type === 'error') this.on.error?.(message.message);
    if (message.type === 'end') this.reason = message.reason;
  }

  open(hello) {
    this.hello = hello;
    if ('MediaSource' in window && MediaSource.isTypeSupported(hello.mime_type)) {
      this.source = new MediaSource();
      this.video.src = URL.createObjectURL(this.source);
      this.source.onsourceopen = () => {
        this.buffer = this.source.addSourceBuffer(hello.mime_type);
        this.buffer.onupdateend = () => this.feed();
        this.feed();
      };
    }
    this.on.hello?.(hello);
  }

  take(bytes) {
    this.header ??= bytes.slice(0, headerLength(bytes));
    if (this.recording !== null && !this.recording.add(bytes)) this.stopRecording();
    this.waiting.push(bytes);
    this.feed();
  }

  feed() {
    if (this.buffer === null || this.buffer.updating) return;
    const ranges = this.buffer.buffered;
    const start = ranges.length ? ranges.start(0) : 0;
    if (this.video.currentTime - start > 2 * kKeptSeconds) {
      this.buffer.remove(start, this.video.currentTime - kKeptSeconds);
      return;
    }
    if (this.waiting.length === 0) return;
    this.buffer.appendBuffer(this.waiting.shift());
    if (!this.paused && this.video.paused) this.play();
  }

  play() { this.video.play().catch(() => {}); }  // nothing is there yet, or the tab is hidden

  tellPosition() {
    if (this.hello === null) return;
    const frame = Math.floor(this.video.currentTime * this.hello.frames_per_second);
    this.send({type: 'played', frame});
  }

  ended() {
    clearInterval(this.ticking);
    this.running = false;
    this.stopRecording();
    this.on.end?.(this.reason);
  }
}
