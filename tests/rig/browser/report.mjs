// Checks by name: one line each, a count at the end, and the exit code. Every wait has a bound.
const CHECK_MS = 120_000;

export function must(holds, what) {
  if (!holds) throw new Error(what);
}

export function same(got, right, what) {
  const [one, other] = [JSON.stringify(got), JSON.stringify(right)];
  must(one === other, `${what}: ${one}, expected ${other}`);
}

/// Rejects after `ms`, and says what was waited for.
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still waiting after ${ms / 1000} s for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/// The first true value of `look`, asked every 20 ms.
export async function eventually(what, look, ms = 20_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    must(Date.now() < end, `still waiting after ${ms / 1000} s for ${what}`);
    await new Promise((next) => setTimeout(next, 20));
  }
}

export class Report {
  constructor(only = '') {
    [this.only, this.count, this.failed] = [only.toLowerCase(), 0, []];
  }

  /// Runs one check; what it returns is printed beside its name.
  async check(name, run) {
    if (!name.toLowerCase().includes(this.only)) return;
    this.count += 1;
    try {
      const note = await within(CHECK_MS, 'the end of the check', run());
      console.log(`ok     ${name}${note ? `: ${note}` : ''}`);
    } catch (error) {
      this.failed.push(name);
      const reason = String(error.message ?? error).replace(/\x1b\[\d+m/g, '').replace(/\s+/g, ' ');
      console.log(`FAILED ${name}: ${reason.slice(0, 600)}`);
    }
  }

  /// The exit code.
  end() {
    console.log(`\n${this.count - this.failed.length} of ${this.count} checks passed`);
    for (const name of this.failed) console.log(`  FAILED ${name}`);
    return this.failed.length > 0 || this.count === 0 ? 1 : 0;
  }
}
