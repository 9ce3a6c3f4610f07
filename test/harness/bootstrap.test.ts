import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram, missingTools, TESTED, TOOLS } from "../../harness/tools.js";
import { linesOf, scratch } from "./orrery.ts";

/** Stands in for npm: notes what it was asked, and installs by copying the lock file as npm does. */
const NPM = `
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
appendFileSync("asked", process.argv.slice(2).join(" ") + "\\n");
if (process.env.NPM_FAILS) { console.error("npm error network"); process.exit(1); }
if (process.argv[2] === "ci") {
  mkdirSync("node_modules", { recursive: true });
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
  delete lock.packages[""];
  for (const [path, one] of Object.entries(lock.packages)) if (one.optional) delete lock.packages[path];
  writeFileSync("node_modules/.package-lock.json", JSON.stringify(lock));
}
`;

interface Started {
  readonly status: number | null;
  readonly stderr: string;
  readonly asked: string[];
}

function checkout(): { root: string; lock: (version: string) => void; start: (...words: string[]) => Started } {
  const root = scratch();
  mkdirSync(join(root, "harness"));
  for (const file of ["bootstrap.js", "node.js", "tools.js", "launcher.js"])
    cpSync(`harness/${file}`, join(root, "harness", file));
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  writeFileSync(join(root, "npm.js"), NPM);
  writeFileSync(
    join(root, "harness/main.ts"),
    'console.error("ran " + process.argv.slice(2).join(" "));\nprocess.exitCode = 5;\n',
  );
  const lock = (version: string): void => {
    const packages = {
      "": {},
      "node_modules/left": { version },
      "node_modules/other-platform": { version: "1", optional: true },
    };
    writeFileSync(join(root, "package-lock.json"), JSON.stringify({ packages }));
  };
  lock("1.0.0");
  const start = (...words: string[]): Started => {
    const env = {
      ...process.env,
      npm_execpath: join(root, "npm.js"),
      ...(words[0] === "fail" ? { NPM_FAILS: "1" } : {}),
    };
    const mode = words[0] === "fail" ? words.slice(1) : words;
    const { status, stderr } = spawnSync(process.execPath, ["harness/bootstrap.js", ...mode], {
      cwd: root,
      env,
      encoding: "utf8",
    });
    const asked = existsSync(join(root, "asked")) ? linesOf(readFileSync(join(root, "asked"), "utf8")) : [];
    return { status, stderr, asked };
  };
  return { root, lock, start };
}

describe("npm start", () => {
  it("installs on the first start, after one line; not on the second; again when the lock file has changed", () => {
    const { lock, start } = checkout();
    const first = start("demo");
    expect(linesOf(first.stderr)).toEqual([
      expect.stringMatching(/^orrery: first start: installing .* npm ci/),
      "ran demo",
    ]);
    expect(first).toMatchObject({ status: 5, asked: ["ci --ignore-scripts"] });
    expect(start("demo", "--seed", "3")).toMatchObject({
      status: 5,
      stderr: "ran demo --seed 3\n",
      asked: ["ci --ignore-scripts"],
    });
    lock("1.0.1");
    const third = start("demo");
    expect(third.stderr).toContain("orrery: package-lock.json has changed: installing");
    expect(third.asked).toHaveLength(2);
  });

  it("a failed installation is one line of ours below npm's, and exit code 2", () => {
    const ended = checkout().start("fail", "demo");
    expect(ended.status).toBe(2);
    expect(linesOf(ended.stderr).slice(1)).toEqual([
      "npm error network",
      "orrery: npm ci failed (exit code 1): npm says why above; mend it and run the same command again",
    ]);
  });

  it("npm run bench means all of them", () => {
    expect(checkout().start("bench").stderr).toMatch(/ran bench all\n$/);
  });

  it("npm test runs the checks after the set-up", () => {
    const { asked, status } = checkout().start("test");
    expect({ asked, status }).toEqual({ asked: ["ci --ignore-scripts", "run check --"], status: 0 });
  });
});

/** What installTools says, started with only `folder` on the PATH. */
const install = (folder: string, apt: string): string => {
  const script = `import { installTools } from ${JSON.stringify(join(process.cwd(), "harness/tools.js"))};
    const still = installTools(["c"], (line) => console.log(line)); console.log("still " + still.map((tool) => tool.program));`;
  const env = { PATH: folder, ORRERY_APT: apt };
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], { env, encoding: "utf8" }).stdout;
};

describe("programs of the system", () => {
  it("findProgram() finds what runs, and only that", () => {
    expect(findProgram("sh")).toMatch(/\/sh$/);
    expect(findProgram("no-such-program-here")).toBeUndefined();
    expect(missingTools(["no such group"])).toEqual([]);
    for (const group of TESTED) expect(Object.keys(TOOLS)).toContain(group);
  });

  it("ORRERY_APT=0 says what is missing and how to have it, and installs nothing", () => {
    expect(install(scratch(), "0")).toMatch(
      /^orrery: missing: gcc \(C twins in the benchmarks\); tests that need them are skipped; to have them: (sudo )?apt-get install -y gcc\nstill gcc\n$/,
    );
  });

  const mayUseApt = process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
  it.skipIf(!mayUseApt)("as root on Debian: one line, then apt; a second try after its lists are renewed", () => {
    const folder = scratch();
    const log = join(folder, "log");
    // Fails until `update` was asked for, as with the empty lists of a fresh machine.
    writeFileSync(
      join(folder, "apt-get"),
      `#!/bin/sh\necho "$@" >>${log}\ncase "$*" in *update*) : >${folder}/fresh;; *) [ -e ${folder}/fresh ] || exit 100; echo '#!/bin/sh' >${folder}/gcc; /bin/chmod +x ${folder}/gcc;; esac\n`,
    );
    chmodSync(join(folder, "apt-get"), 0o755);
    expect(install(folder, "1")).toBe("orrery: installing gcc with apt (ORRERY_APT=0 forbids it)\nstill \n");
    expect(linesOf(readFileSync(log, "utf8")).map((line) => line.replace(/^.*Timeout=120 /, ""))).toEqual([
      "install -y --no-install-recommends gcc",
      "update",
      "install -y --no-install-recommends gcc",
    ]);
  });
});
