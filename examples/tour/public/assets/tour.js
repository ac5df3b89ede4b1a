// What the tour's pages do in the browser. Each part starts when its element is on the page.

const find = (selector, root = document) => root.querySelector(selector);
const on = (selector, start) => { const root = find(selector); if (root) start(root); };
const make = (tag, text, className) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
};
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const size = (count) => {
  for (const unit of ['B', 'KB', 'MB', 'GB']) {
    if (count < 1000 || unit === 'GB') return `${unit === 'B' || count >= 100 ? Math.round(count) : count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
};

// First page: which processes answer, and how often.
on('[data-wall]', (root) => {
  const tiles = find('[data-wall-tiles]', root);
  const sum = find('[data-wall-sum]', root);
  const button = find('[data-wall-send]', root);
  const counts = new Map();

  const draw = () => {
    const most = Math.max(...counts.values());
    tiles.replaceChildren(...[...counts].sort((a, b) => a[0] - b[0]).map(([pid, count]) => {
      const tile = make('div', undefined, 'tile');
      tile.setAttribute('role', 'listitem');
      const head = make('span', 'process');
      head.append(make('code', pid));
      const bar = make('i');
      bar.style.transform = `scaleX(${count / most})`;
      tile.append(head, make('b', count), bar);
      return tile;
    }));
  };

  const send = async (total, lanes) => {
    button.disabled = true;
    const start = performance.now();
    let left = total;
    let failed = 0;
    await Promise.all(Array.from({ length: lanes }, async () => {
      while (left-- > 0) {
        try {
          const { pid } = await (await fetch('/pulse.php', { cache: 'no-store' })).json();
          counts.set(pid, (counts.get(pid) ?? 0) + 1);
          draw();
        } catch {
          failed++;
        }
      }
    }));
    sum.textContent = `${total - failed} answers in ${ms(performance.now() - start)}${failed ? `, ${failed} failed` : ''}`;
    button.disabled = false;
  };
  button.addEventListener('click', () => send(40, 6));
  send(12, 6);
});

// Upload: how far it is, then what PHP says it got.
on('[data-upload]', (form) => {
  const input = find('input[type=file]', form);
  const drop = find('[data-upload-drop]', form);
  const bar = find('[data-upload-bar]', form);
  const status = find('[data-upload-status]', form);
  const result = find('[data-upload-result]');
  const maker = find('[data-upload-make]', form);
  const limit = Number(form.dataset.limit);

  const show = (data) => {
    const body = find('tbody', result);
    body.replaceChildren(...Object.entries(data).map(([key, value]) => {
      const row = make('tr');
      const head = make('th', key);
      head.scope = 'row';
      row.append(head, make('td', value));
      return row;
    }));
    result.hidden = false;
  };

  const send = (file) => {
    if (file.size > limit) {
      status.textContent = `${file.name} has ${size(file.size)}; the limit is ${size(limit)}.`;
      return;
    }
    const body = new FormData();
    body.append('file', file);
    const request = new XMLHttpRequest();
    const start = performance.now();
    bar.hidden = false;
    request.upload.addEventListener('progress', (event) => {
      const part = event.loaded / event.total;
      find('i', bar).style.transform = `scaleX(${part})`;
      bar.setAttribute('aria-valuenow', Math.round(part * 100));
      const speed = event.loaded / ((performance.now() - start) / 1000);
      status.textContent = `${size(event.loaded)} of ${size(event.total)}, ${size(speed)} a second`;
    });
    request.addEventListener('load', () => {
      status.textContent = `${size(file.size)} in ${ms(performance.now() - start)}, answer ${request.status}`;
      try {
        show(JSON.parse(request.responseText));
      } catch {
        show({ Error: `no answer from PHP, status ${request.status}` });
      }
    });
    request.addEventListener('error', () => { status.textContent = 'The connection was cut.'; });
    request.open('POST', form.action);
    request.setRequestHeader('Accept', 'application/json');
    request.send(body);
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (input.files[0]) send(input.files[0]);
    else status.textContent = 'Choose a file first.';
  });
  for (const name of ['dragover', 'dragleave', 'drop']) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle('over', name === 'dragover');
      if (name === 'drop' && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
    });
  }
  maker.hidden = false;
  maker.addEventListener('click', () => send(new File([new Uint8Array(Math.min(limit - 4096, 64_000_000))], 'made-up.bin')));
});

// Stream: a mark for each piece, at the moment it comes.
on('[data-stream]', (root) => {
  const reel = find('[data-stream-reel]', root);
  const tape = find('[data-stream-tape]', root);
  const status = find('[data-stream-status]', root);
  const button = find('[data-stream-start]', root);
  const span = 3000;

  button.addEventListener('click', async () => {
    button.disabled = true;
    reel.replaceChildren();
    tape.textContent = '';
    const start = performance.now();
    let pieces = 0;
    let first;
    try {
      const response = await fetch('/chunks.php', { cache: 'no-store' });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const at = performance.now() - start;
        first ??= at;
        pieces++;
        const mark = make('i');
        mark.style.left = `${Math.min(at / span, 1) * 97 + 1}%`;
        reel.append(mark);
        tape.textContent += part.value;
        status.textContent = `${pieces} arrivals, the first after ${ms(first)}`;
      }
      status.textContent = pieces > 1
        ? `${pieces} arrivals over ${ms(performance.now() - start)}, the first after ${ms(first)}`
        : 'all in one piece: something on the way collects the answer first';
    } catch {
      status.textContent = 'The answer was cut off.';
    }
    button.disabled = false;
  });
});

// Slow and crash: send one request, tell how it ended.
on('[data-actions]', (root) => {
  const events = find('[data-events]', root);
  root.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-action]');
    if (!button) return;
    const { action, label, method = 'GET' } = button.dataset;
    const line = make('li');
    const what = make('span', `${label}: waiting …`);
    const took = make('span', '', 'ms');
    line.append(make('time', new Date().toTimeString().slice(0, 8)), what, took);
    events.prepend(line);
    while (events.children.length > 5) events.lastChild.remove();
    const start = performance.now();
    try {
      const response = await fetch(action, { method, cache: 'no-store' });
      what.textContent = `${label}: answered ${response.status}${response.statusText ? ` ${response.statusText}` : ''}`;
      what.className = response.ok ? 'good' : 'bad';
    } catch {
      what.textContent = `${label}: the connection was cut`;
      what.className = 'bad';
    }
    took.textContent = ms(performance.now() - start);
  });
});

// The strip: another URL, ten times a second, each answer a bar.
on('[data-strip]', (root) => {
  const bars = find('[data-strip-bars]', root);
  const sum = find('[data-strip-sum]', root);
  const lamp = find('.lamp', root);
  const times = [];
  const pids = new Set();
  let good = 0;
  let bad = 0;
  let flying = 0;

  const beat = async () => {
    if (document.hidden || flying > 4) return;
    flying++;
    const bar = make('i');
    const start = performance.now();
    try {
      const response = await fetch('/pulse.php', { cache: 'no-store' });
      if (!response.ok) throw new Error(response.status);
      pids.add((await response.json()).pid);
      good++;
    } catch {
      bad++;
      bar.className = 'bad';
    }
    flying--;
    const took = performance.now() - start;
    times.push(took);
    if (times.length > 200) times.shift();
    bar.style.height = `${Math.min(100, 12 + 26 * Math.log10(1 + took))}%`;
    bars.append(bar);
    while (bars.children.length > 200) bars.firstChild.remove();
    const sorted = [...times].sort((a, b) => a - b);
    lamp.className = `lamp ${bar.className === 'bad' ? 'off' : 'on'}`;
    sum.replaceChildren(
      make('b', good), ' answers, ', make('b', bad), ' failed · usually ',
      make('b', ms(sorted[sorted.length >> 1])), ', at most ', make('b', ms(sorted.at(-1))),
      ` · ${pids.size} ${pids.size === 1 ? 'process' : 'processes'}`,
    );
  };
  setInterval(beat, 100);
  beat();
});
