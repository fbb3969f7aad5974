// The clips of this server, newest first: those that were asked for here or by others.

const kShown = 12;
const kPollMilliseconds = 1000;

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error.message);
  return body;
}

function button(text, label, action) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  made.setAttribute('aria-label', label);
  made.onclick = action;
  return made;
}

function caption(text, ...extras) {
  const made = document.createElement('figcaption');
  const words = document.createElement('span');
  words.textContent = text;
  made.append(words, ...extras);
  return made;
}

function player(source, prompt) {
  const video = document.createElement('video');
  video.src = source;
  video.controls = video.loop = video.muted = video.playsInline = true;
  video.preload = 'metadata';
  video.setAttribute('aria-label', prompt);
  return video;
}

export class Gallery {
  constructor(list, say) {
    this.list = list;
    this.say = say;
    this.shown = new Map();  // by id: [what it looked like, figure]
    this.recordings = [];
    this.refresh();
  }

  async make(settings) {
    await this.act(() => ask('/v1/videos', {method: 'POST', body: JSON.stringify(settings)}));
  }

  addRecording(blob) {
    const name = `monarch-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-')}.mp4`;
    const address = URL.createObjectURL(blob);
    const link = document.createElement('a');
    link.href = address;
    link.download = name;
    link.textContent = 'Save';
    link.title = `${name}, ${(blob.size / 1e6).toFixed(1)} MB`;
    const figure = document.createElement('figure');
    figure.className = 'recording';
    figure.append(player(address, 'Recording'), caption('Recording', link));
    this.recordings.unshift(figure);
    this.show();
  }

  async act(action) {
    try {
      await action();
      await this.refresh();
    } catch (error) {
      this.say(error.message);
    }
  }

  async refresh() {
    clearTimeout(this.timer);
    this.videos = (await ask('/v1/videos')).data.slice(0, kShown);
    this.show();
    const busy = this.videos.some((video) => video.status === 'queued' || video.status === 'in_progress');
    if (busy) this.timer = setTimeout(() => this.refresh().catch(() => {}), kPollMilliseconds);
  }

  show() {
    const shown = new Map();
    for (const video of this.videos ?? []) {
      const look = `${video.status} ${video.progress}`;
      const before = this.shown.get(video.id);
      shown.set(video.id, before?.[0] === look ? before : [look, this.figure(video)]);
    }
    this.shown = shown;
    // Only what is new is put in: a clip that plays goes on.
    const figures = [...this.recordings, ...[...shown.values()].map(([, figure]) => figure)];
    for (const old of [...this.list.children]) if (!figures.includes(old)) old.remove();
    figures.forEach((figure, i) => {
      if (this.list.children[i] !== figure) this.list.insertBefore(figure, this.list.children[i] ?? null);
    });
  }

  figure(video) {
    const figure = document.createElement('figure');
    const address = `/v1/videos/${video.id}`;
    const remove = button('×', `Remove “${video.prompt}”`,
                          () => this.act(() => ask(address, {method: 'DELETE'})));
    if (video.status === 'completed') {
      figure.append(player(`${address}/content`, video.prompt));
    } else {
      const place = document.createElement('div');
      place.className = 'place';
      place.textContent = video.status === 'in_progress' ? `${video.progress} %` : video.status;
      figure.append(place);
    }
    figure.append(caption(video.prompt, remove));
    return figure;
  }
}
