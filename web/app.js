// The page of `monarch serve`: a WebSocket brings fragmented MP4 for MediaSource; browsers without
// it get the same stream as JPEG pictures.
'use strict';

const $ = (id) => document.getElementById(id);
const video = $('video');
const kKeptSeconds = 20;     // of played video in the buffer
const kRecordedBytes = 256e6;

let socket = null;
let hello = null;
let running = false;
let paused = false;
let buffer = null;           // SourceBuffer
let waiting = [];            // fragments that it has not taken yet
let header = null;           // the MP4's beginning: recordings need it
let recording = null;        // fragments, or null
let recordedBytes = 0;
let chunks = [];             // reports of the last chunks, for the frame rate

function say(text) { $('status').textContent = text; }

function connect() {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(`${scheme}//${location.host}/v1/live`);
  socket.binaryType = 'arraybuffer';
  socket.onmessage = (event) => {
    if (typeof event.data === 'string') return onMessage(JSON.parse(event.data));
    onFragment(event.data);
  };
  socket.onclose = () => {
    for (const id of ['pause', 'restart', 'record', 'send']) $(id).disabled = true;
    running = false;
    say('The connection ended. Reload the page to watch again.');
  };
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function onMessage(message) {
  if (message.type === 'hello') onHello(message);
  if (message.type === 'chunk') onChunk(message);
  if (message.type === 'error') say(message.message);
  if (message.type === 'end') say(message.reason);
}

function onHello(message) {
  hello = message;
  $('attention').replaceChildren(...hello.attentions.map((name) => new Option(name, name)));
  $('steps').max = hello.max_steps;
  $('steps').value = hello.default_steps;
  $('steps').disabled = hello.max_steps === 1;
  $('prompt').maxLength = hello.max_prompt_bytes;
  if (!('MediaSource' in window) || !MediaSource.isTypeSupported(hello.mime_type)) return;
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  source.onsourceopen = () => {
    buffer = source.addSourceBuffer(hello.mime_type);
    buffer.onupdateend = feed;
    feed();
  };
}

function settings() {
  return {
    prompt: $('prompt').value.trim(),
    seed: Number($('seed').value),
    attention: $('attention').value,
    steps: Number($('steps').value),
  };
}

function onFragment(bytes) {
  if (header === null) {
    header = headerOf(bytes);
    $('record').disabled = false;
  }
  if (recording !== null) {
    recording.push(bytes.slice(headerLength(bytes)));
    recordedBytes += bytes.byteLength;
    if (recordedBytes > kRecordedBytes) stopRecording();
  }
  waiting.push(bytes);
  feed();
}

// Length of ftyp and moov at the beginning of a fragment; 0 if it has none.
function headerLength(bytes) {
  const view = new DataView(bytes);
  let at = 0;
  while (at + 8 <= view.byteLength) {
    const type = String.fromCharCode(...new Uint8Array(bytes, at + 4, 4));
    if (type !== 'ftyp' && type !== 'moov') break;
    at += view.getUint32(at);
  }
  return at;
}
function headerOf(bytes) { return bytes.slice(0, headerLength(bytes)); }

function feed() {
  if (buffer === null || buffer.updating) return;
  const start = buffer.buffered.length ? buffer.buffered.start(0) : 0;
  if (video.currentTime - start > 2 * kKeptSeconds) {
    buffer.remove(start, video.currentTime - kKeptSeconds);
    return;
  }
  if (waiting.length === 0) return;
  buffer.appendBuffer(waiting.shift());
  if (!paused && video.paused) video.play().catch(() => {});
}

function onChunk(chunk) {
  running = true;
  for (const id of ['pause', 'restart']) $(id).disabled = false;
  $('send').textContent = 'Change';
  if (!paused) say('');
  chunks.push({time: performance.now(), frames: chunk.frames});
  chunks = chunks.slice(-20);
  showStatistics(chunk);
}

function showStatistics(chunk) {
  const cost = chunk.denoise_seconds + chunk.decode_seconds + chunk.encode_seconds;
  const first = chunks[0];
  const last = chunks[chunks.length - 1];
  const frames = chunks.slice(1).reduce((sum, c) => sum + c.frames, 0);
  const rate = last.time > first.time ? 1000 * frames / (last.time - first.time) : 0;
  const ms = (seconds) => `${(1000 * seconds).toFixed(0)} ms`;
  const rows = [
    ['Frames a second, arriving', chunks.length > 1 ? rate.toFixed(1) : '…'],
    ['Possible (denoise, decode, encode)', (chunk.frames / cost).toFixed(1)],
    ['Played at', `${hello.frames_per_second}`],
    ['First frame after', ms(chunk.first_frame_seconds)],
    ['Chunk: denoise', ms(chunk.denoise_seconds)],
    ['Chunk: decode', ms(chunk.decode_seconds)],
    ['Chunk: encode', ms(chunk.encode_seconds)],
    ['Chunk: waiting for others', ms(chunk.wait_seconds)],
    ['Attention', `${chunk.settings.attention}, ${(100 * chunk.sparsity).toFixed(1)} % sparse`],
    ['Frames so far', `${chunk.first_frame + chunk.frames}`],
    ['Server memory', `${(chunk.memory_bytes / 1e6).toFixed(0)} MB`],
    ['Viewers', `${chunk.viewers}`],
  ];
  $('stats').replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement('div');
    const term = document.createElement('dt');
    const text = document.createElement('dd');
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }));
}

function showPictures() {
  $('pictures').hidden = false;
  video.hidden = true;
  $('pictures').src = `/v1/live.mjpeg?${new URLSearchParams(settings())}`;
}

function start() {
  if (hello === null || !$('prompt').reportValidity()) return;
  if (buffer === null && !video.src) return showPictures();
  if (running) send({type: 'change', prompt: settings().prompt});
  else send({type: 'start', ...settings()});
  say(running ? 'The new prompt begins with the next chunk.' : 'Starting…');
}

function togglePause() {
  paused = !paused;
  send({type: 'change', paused});
  $('pause').textContent = paused ? 'Go on' : 'Pause';
  if (paused) video.pause(); else video.play().catch(() => {});
  say(paused ? 'Paused.' : '');
}

function restart() {
  if (paused) togglePause();
  send({type: 'change', seed: Number($('seed').value)});
  send({type: 'restart'});
}

function toggleRecording() {
  if (recording !== null) return stopRecording();
  recording = [header];
  recordedBytes = 0;
  $('record').textContent = 'Stop and save';
}

function stopRecording() {
  const link = document.createElement('a');
  const item = document.createElement('li');
  link.href = URL.createObjectURL(new Blob(recording, {type: 'video/mp4'}));
  link.download = `monarch-${new Date().toISOString().replace(/[:.]/g, '-')}.mp4`;
  link.textContent = `${link.download} (${(recordedBytes / 1e6).toFixed(1)} MB)`;
  item.append(link);
  $('clips').prepend(item);
  recording = null;
  $('record').textContent = 'Record';
  link.click();
}

$('prompt-form').onsubmit = (event) => { event.preventDefault(); start(); };
$('prompt').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); start(); }
};
$('pause').onclick = togglePause;
$('restart').onclick = restart;
$('record').onclick = toggleRecording;
$('attention').onchange = () => running && send({type: 'change', attention: $('attention').value});
$('steps').onchange = () => {
  if (running && $('steps').reportValidity()) send({type: 'change', steps: Number($('steps').value)});
};
document.onkeydown = (event) => {
  if (/^(TEXTAREA|INPUT|SELECT|BUTTON)$/.test(event.target.tagName) || !running) return;
  if (event.key === ' ') { event.preventDefault(); togglePause(); }
  if (event.key === 'r') restart();
};
// The stream waits for a viewer that falls far behind.
setInterval(() => {
  if (running && hello !== null && buffer !== null) {
    send({type: 'played', frame: Math.floor(video.currentTime * hello.frames_per_second)});
  }
}, 1000);

connect();
