// The page of `monarch serve`.
import {Gallery} from './gallery.js';
import {Player} from './player.js';

const $ = (id) => document.getElementById(id);
const say = (text) => { $('status').textContent = text; };
const gallery = new Gallery($('clips'), say);

let hello = null;
let players = [];      // one, or two side by side
let chunks = [];       // reports of the last chunks of the first, for the frame rate

const first = () => players[0];
const running = () => players.some((player) => player.running);
const paused = () => first().paused;

function attentionOf(pane) {
  if (!$('side').checked) return $('attention').value;
  return pane === 0 ? 'dense' : sparse();
}
const sparse = () => hello.attentions.find((name) => name !== 'dense');

function settings(pane = 0) {
  return {
    prompt: $('prompt').value.trim(),
    seed: Number($('seed').value),
    attention: attentionOf(pane),
    steps: Number($('steps').value),
    blend: Number($('blend').value),
  };
}

function connect(pane) {
  return new Player($(`video-${pane}`), $(`pictures-${pane}`), {
    hello: onHello,
    chunk: (chunk) => onChunk(pane, chunk),
    error: say,
    end: (reason) => onEnd(reason),
    recorded: (blob) => gallery.addRecording(blob),
  });
}

function onHello(message) {
  if (hello !== null) {  // connected again: all begin together
    const all = players.every((player) => player.hello !== null);
    if (all && $('prompt').value.trim()) players.forEach((player, pane) => player.start(settings(pane)));
    return;
  }
  hello = message;
  $('model').textContent = `${hello.model}, ${hello.width} × ${hello.height}`;
  document.documentElement.style.setProperty('--picture', `${hello.width} / ${hello.height}`);
  $('attention').replaceChildren(...hello.attentions.map((name) => new Option(name, name)));
  $('steps').max = hello.max_steps;
  $('steps').value = hello.default_steps;
  $('steps').disabled = hello.max_steps === 1;
  $('blend-label').hidden = !hello.continuous;
  $('prompt').maxLength = hello.max_prompt_bytes;
  $('side').disabled = !hello.attentions.includes('dense') || hello.attentions.length < 2;
  for (const id of ['send', 'clip']) $(id).disabled = false;
}

function onEnd(reason) {
  for (const id of ['send', 'pause', 'restart', 'record', 'clip', 'side']) $(id).disabled = true;
  showRecording(false);
  say(`${reason ? `The stream ended: ${reason}. ` : 'The connection ended. '}Reload the page to watch again.`);
}

function onChunk(pane, chunk) {
  for (const id of ['pause', 'restart', 'record']) $(id).disabled = false;
  $('send').textContent = 'Change';
  if (!paused()) say('');
  $(`name-${pane}`).textContent = chunk.settings.attention;
  if (pane !== 0) return;
  chunks.push({time: performance.now(), frames: chunk.frames});
  chunks = chunks.slice(-20);
  showStatistics(chunk);
}

function showStatistics(chunk) {
  const cost = chunk.denoise_seconds + chunk.decode_seconds + chunk.encode_seconds;
  const last = chunks[chunks.length - 1];
  const frames = chunks.slice(1).reduce((sum, c) => sum + c.frames, 0);
  const rate = chunks.length > 1 ? 1000 * frames / (last.time - chunks[0].time) : 0;
  const ms = (seconds) => `${(1000 * seconds).toFixed(0)} ms`;
  const rows = [
    ['Frames a second, arriving', rate > 0 ? rate.toFixed(1) : '…'],
    ['Possible (denoise, decode, encode)', (chunk.frames / cost).toFixed(1)],
    ['Played at', `${hello.frames_per_second}`],
    ['First frame after', ms(chunk.first_frame_seconds)],
    ['Chunk: denoise', ms(chunk.denoise_seconds)],
    ['Chunk: decode', ms(chunk.decode_seconds)],
    ['Chunk: encode', ms(chunk.encode_seconds)],
    ['Between chunks: waiting', ms(chunk.wait_seconds)],
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

function connectAll() {
  for (const player of players) player.close();
  players = $('side').checked ? [connect(0), connect(1)] : [connect(0)];
  chunks = [];
}

// Side by side, both clocks begin anew, so that they show the same frame.
function startAll() {
  if (!$('prompt').value.trim()) return;
  if ($('side').checked) connectAll(); else first().start(settings());
  $('pause').textContent = 'Pause';
}

function keepTogether() {
  if (players.length < 2) return;
  const [left, right] = players.map((player) => player.video);
  const ahead = right.currentTime - left.currentTime;
  right.playbackRate = Math.abs(ahead) > 0.04 && Math.abs(ahead) < 2 ? 1 - Math.sign(ahead) * 0.1 : 1;
  if (Math.abs(ahead) >= 2 && left.currentTime > 0) right.currentTime = left.currentTime;
}

function submit() {
  if (hello === null || !$('prompt').reportValidity()) return;
  if (running()) {
    const {prompt, blend} = settings();
    for (const player of players) player.change({prompt, blend});
    say('The new prompt begins with the next chunk.');
  } else {
    startAll();
    say('Starting…');
  }
}

function togglePause() {
  const now = !paused();
  for (const player of players) player.setPaused(now);
  $('pause').textContent = now ? 'Go on' : 'Pause';
  say(now ? 'Paused.' : '');
}

function showRecording(on) {
  $('record').textContent = on ? 'Stop recording' : 'Record';
  $('record').setAttribute('aria-pressed', on);
}

function toggleRecording() {
  const on = first().recording === null;
  for (const player of players) if (on) player.record(); else player.stopRecording();
  showRecording(on);
}

// Two viewers with the same seed, so both begin with the same noise.
function toggleSide() {
  const side = $('side').checked;
  $('pane-1').hidden = !side;
  $('stage').classList.toggle('two', side);
  $('attention').disabled = side;
  connectAll();
}

const changeAll = (change) => { if (running()) for (const player of players) player.change(change); };

$('prompt-form').onsubmit = (event) => { event.preventDefault(); submit(); };
$('prompt').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); submit(); }
};
$('pause').onclick = togglePause;
$('restart').onclick = startAll;
$('record').onclick = toggleRecording;
$('side').onchange = toggleSide;
$('clip').onclick = () => {
  if (!$('prompt').reportValidity()) return;
  const {prompt, seed, attention, steps} = settings();
  gallery.make({prompt, seed, attention, steps});
};
$('attention').onchange = () => changeAll({attention: $('attention').value});
$('steps').onchange = () => {
  if ($('steps').reportValidity()) changeAll({steps: Number($('steps').value)});
};
document.onkeydown = (event) => {
  if (/^(TEXTAREA|INPUT|SELECT|BUTTON|A|VIDEO)$/.test(event.target.tagName) || !running()) return;
  if (event.key === ' ') { event.preventDefault(); togglePause(); }
  if (event.key === 'r') startAll();
};

players = [connect(0)];
setInterval(keepTogether, 100);
