/**
 * `orrery ext4`: file systems in image files, without mounting them. Images packed by zstd or gzip are read as they are.
 * - mkfs                           an empty file system, as mke2fs lays it out
 * - run                            a script of file operations on a mounted image
 * - recover                        what Linux does at mount after a crash, or e2fsck
 * - check                          damage by kind; 3 when there is any
 * - info, log                      the superblock, the journal in words
 * - ls, cat, stat, get, manifest   what is in it
 * - put                            a file more in it
 */
import { closeSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { Option } from "commander";
import type { Command } from "commander";
import { byteSize, choiceOption, formatOption, seedOption, wholeNumber } from "./args.ts";
import { EXIT, UserError } from "./exit.ts";
import { emit } from "./output.ts";
import type { Format } from "./output.ts";

interface Formatted {
  readonly format: Format;
}

const imageHelp = "the image; .zst and .gz are read, too";

export function register(program: Command): void {
  const ext4 = program
    .command("ext4")
    .description("ext4 file systems in image files: make, recover, check, look inside.");
  ext4
    .command("mkfs")
    .description(
      "Make an empty file system as mke2fs 1.47 would, in a sparse file. The same options make the same bytes.",
    )
    .argument("<image>", "a new file")
    .requiredOption("--size <bytes>", "size of the file system, such as 64M", byteSize(2 ** 16, 2 ** 50))
    .option("--block-size <bytes>", "1024 to 65536 (default: 1024 below 512M, else 4096)", byteSize(1024, 65536))
    .option("--cluster-size <bytes>", "with bigalloc (default: 16 blocks)", byteSize(1024, 2 ** 29))
    .option("--features <list>", "a,^b,... on top of mke2fs's defaults; none,a,... on top of nothing")
    .option("--journal-size <bytes>", "of the journal (default: by the size, as mke2fs)", byteSize(2 ** 20, 2 ** 40))
    .option("--inode-size <bytes>", "128, 256 (default), ... up to a block", byteSize(128, 65536))
    .addOption(
      new Option("--inodes <n>", "number of inodes; rounded up to fill their tables")
        .argParser(wholeNumber(1, 2 ** 32 - 1))
        .conflicts("inodeRatio"),
    )
    .option("--inode-ratio <bytes>", "bytes of the file system for each inode", byteSize(1024, 2 ** 26))
    .option("--blocks-per-group <n>", "a multiple of 8 (default: what one bitmap holds)", wholeNumber(256, 2 ** 31))
    .option("--groups-per-flex <n>", "groups whose tables lie together (default: 16)", wholeNumber(1, 2 ** 20))
    .option("--reserved <percent>", "kept for root (default: 5)", wholeNumber(0, 50))
    .option("--label <name>", "at most 16 bytes")
    .option("--uuid <uuid>", "(default: from the seed)")
    .addOption(seedOption())
    .option(
      "--now <seconds>",
      "time of creation, since 1970 (default: SOURCE_DATE_EPOCH, or now)",
      wholeNumber(0, 2 ** 34),
    )
    .option("--force", "overwrite a file that is there")
    .addOption(formatOption("json"))
    .action(makeImage);
  ext4
    .command("run")
    .description(
      "Mount the image here, run a script of file operations on it, unmount. 1 when an operation failed that was not marked with -.",
    )
    .argument("<image>", "changed in place; with --out also packed ones")
    .argument("<script>", "one operation a line; docs/cli.md has the language")
    .option("--mount <options>", "as in mount -o, such as data=journal,commit=1", "")
    .option("--out <file>", "leave the image as it is, and change this new copy of it")
    .option("--cut", "the power goes after the last operation: nothing is unmounted")
    .option("--now <seconds>", "the time, since 1970; it stands still (default: now)", wholeNumber(0, 2 ** 34))
    .addOption(formatOption("json", "jsonl", "csv"))
    .action(runScript);
  ext4
    .command("recover")
    .description("Replay the journal and finish what was being deleted, in place. 3 when damage was in the way.")
    .argument("<image>", imageHelp)
    .addOption(
      choiceOption(
        "--policy <p>",
        "kernel refuses damage in a committed transaction as Linux does, e2fsck replays what it can",
        ["e2fsck", "kernel"],
        "e2fsck",
      ),
    )
    .option("--out <file>", "write the recovered image there; needed for packed ones")
    .option(
      "--now <seconds>",
      "time of deletion of orphans, since 1970 (default: when the image was last written)",
      wholeNumber(0, 2 ** 32 - 1),
    )
    .addOption(formatOption("json"))
    .action(recoverImage);
  ext4
    .command("check")
    .description("Report damage by kind, as e2fsck -fn would, without writing. 3 when there is any.")
    .argument("<image>", imageHelp)
    .addOption(formatOption("json"))
    .action(checkImage);
  ext4
    .command("info")
    .description("Print the superblock: sizes, features, what is free, the journal's state.")
    .argument("<image>", imageHelp)
    .addOption(formatOption("json"))
    .action(infoImage);
  ext4
    .command("log")
    .description("Print the journal in words, block by block, and the fast commits behind it.")
    .argument("<image>", imageHelp)
    .option("--all", "every block of the ring, also what is no longer part of the log")
    .addOption(formatOption("json", "jsonl", "csv"))
    .action(logImage);
  ext4
    .command("ls")
    .description("List a directory of the image.")
    .argument("<image>", imageHelp)
    .argument("[path]", "in the image", "/")
    .addOption(formatOption("json", "csv"))
    .action(listDirectory);
  ext4
    .command("cat")
    .description("Print a file of the image.")
    .argument("<image>", imageHelp)
    .argument("<path>", "in the image")
    .action(catFile);
  ext4
    .command("stat")
    .description("Print an inode of the image: its fields, where its blocks lie, its attributes.")
    .argument("<image>", imageHelp)
    .argument("<path>", "in the image; a symbolic link at its end is not followed")
    .addOption(formatOption("json"))
    .action(statFile);
  ext4
    .command("get")
    .description("Copy a file out of the image.")
    .argument("<image>", imageHelp)
    .argument("<from>", "in the image")
    .argument("<to>", "a new file here")
    .option("--force", "overwrite a file that is there")
    .action(getFile);
  ext4
    .command("put")
    .description("Copy a file into the image by mounting it: through the journal, and unmounted cleanly.")
    .argument("<image>", "the image, a plain file")
    .argument("<from>", "a file here")
    .argument("<to>", "in the image; directories on the way exist")
    .option("--force", "overwrite a file that is there")
    .option("--mount <options>", "as mount(8) takes them: data=journal,nodelalloc", "")
    .option("--mode <octal>", "permissions (default: those of the file here)")
    .option("--now <seconds>", "time of the change, since 1970 (default: now)", wholeNumber(0, 2 ** 32 - 1))
    .addOption(formatOption("json"))
    .action(putInto);
  ext4
    .command("manifest")
    .description("Print a line for each path: type, mode, size, sha256 or target, path; sorted by path.")
    .argument("<image>", imageHelp)
    .action(printManifest);
}

/** Names are bytes; one character of the text is one. */
const print = (text: string): void => void process.stdout.write(Buffer.from(text, "latin1"));

interface MkfsOptions extends Formatted {
  readonly size: number;
  readonly blockSize?: number;
  readonly clusterSize?: number;
  readonly features?: string;
  readonly journalSize?: number;
  readonly inodeSize?: number;
  readonly inodes?: number;
  readonly inodeRatio?: number;
  readonly blocksPerGroup?: number;
  readonly groupsPerFlex?: number;
  readonly reserved?: number;
  readonly label?: string;
  readonly uuid?: string;
  readonly seed: number;
  readonly now?: number;
  readonly force?: boolean;
}

async function makeImage(path: string, options: MkfsOptions): Promise<void> {
  const { identity, readFeatures, readLabel, readUuid } = await import("../ext4/mkfs_options.ts");
  const { madeFields, storeMade } = await import("../ext4/mkfs_file.ts");
  const { isRefusal, makeExt4 } = await import("../../kernel/index.ts");
  if (existsSync(path) && options.force !== true)
    throw new UserError(`${path} is there: choose another name, or add --force`);
  const { size, journalSize, reserved, features, label, uuid, format, seed, now, force: _force, ...same } = options;
  const made = makeExt4({
    ...identity(seed),
    ...same,
    sizeBytes: size,
    ...(journalSize === undefined ? {} : { journalBytes: journalSize }),
    ...(reserved === undefined ? {} : { reservedPercent: reserved }),
    ...(features === undefined ? {} : { features: readFeatures(features) }),
    ...(label === undefined ? {} : { label: readLabel(label) }),
    ...(uuid === undefined ? {} : { uuid: readUuid(uuid) }),
    now: now ?? (Number(process.env["SOURCE_DATE_EPOCH"]) || Math.floor(Date.now() / 1000)),
  });
  if (isRefusal(made)) throw new UserError(`cannot make ${path}: ${made.reason}`);
  storeMade(path, made);
  const fields = madeFields(made);
  emit(format, {
    document: { schema: 1, image: path, ...fields, notes: made.plan.notes },
    rows: Object.entries(fields).map(([field, value]) => ({ field, value })),
    notes: [...made.plan.notes],
  });
}

interface RecoverOptions extends Formatted {
  readonly policy: "kernel" | "e2fsck";
  readonly out?: string;
  readonly now?: number;
}

async function recoverImage(path: string, options: RecoverOptions): Promise<void> {
  const { openExt4, storeChanged } = await import("../ext4/image_file.ts");
  const { recover, isRefusal, journalMap, ext4Layout } = await import("../../kernel/index.ts");
  const opened = openExt4(path);
  const { image, sb, packed, buffer, sizeBytes } = opened;
  if (packed && options.out === undefined)
    throw new UserError(`${path} is packed and cannot be recovered in place: name the result with --out`);
  const at = image.at(sb.superBlock) + sb.superOffset;
  const now = options.now ?? image.view.getUint32(at + ext4Layout.SB.s_wtime, true);
  const done = recover(image, sb, { policy: options.policy, now });
  if (isRefusal(done)) {
    const hint = options.policy === "kernel" ? "; --policy e2fsck replays what is good" : "";
    throw new UserError(`${path} is refused: ${done.reason}${hint}`, EXIT.invariant);
  }
  const journal = journalMap(image, done.sb);
  const last = [sb.superBlock, ...(journal instanceof Int32Array ? [journal[0]!] : [])];
  const changed = image.settle();
  if (options.out === undefined) storeChanged(opened, changed, last);
  else writeFileSync(options.out, buffer.subarray(0, sizeBytes));
  const { replay, fastCommit, orphans, damage } = done;
  const summary = {
    policy: options.policy,
    transactions: replay === undefined ? 0 : replay.endTid - replay.firstTid,
    blocks: replay?.replayed ?? 0,
    revokes: replay?.revokes ?? 0,
    revoked: replay?.revokeHits ?? 0,
    fastCommitTags: fastCommit?.tags ?? 0,
    orphansDeleted: orphans.deleted,
    orphansTruncated: orphans.truncated,
    changedBlocks: changed.length,
  };
  emit(options.format, {
    document: { schema: 1, image: path, out: options.out ?? null, ...summary, damage },
    rows: Object.entries(summary).map(([field, value]) => ({ field, value })),
    notes: damage.map((text) => `damage: ${text}`),
  });
  if (damage.length === 0) return;
  console.error(`orrery: ${path}: ${damage.length} kinds of damage were worked around: a full check has to follow`);
  process.exitCode = EXIT.invariant;
}

interface RunOptions extends Formatted {
  readonly mount: string;
  readonly out?: string;
  readonly cut?: boolean;
  readonly now?: number;
}

async function runScript(path: string, scriptPath: string, options: RunOptions): Promise<void> {
  const { openExt4 } = await import("../ext4/image_file.ts");
  const { parseScript } = await import("../ext4/script/parse.ts");
  const { runOnImage } = await import("../ext4/script/on_image.ts");
  if (!existsSync(scriptPath)) throw new UserError(`cannot read ${scriptPath}: no such file`);
  const ops = parseScript(readFileSync(scriptPath, "utf8"), scriptPath);
  const { packed, buffer, sizeBytes } = openExt4(path);
  if (packed && options.out === undefined)
    throw new UserError(`${path} is packed and cannot be changed in place: name the result with --out`);
  const image = options.out ?? path;
  if (options.out !== undefined) {
    if (existsSync(image)) throw new UserError(`${image} is there: choose another name`);
    writeFileSync(image, buffer.subarray(0, sizeBytes));
  }
  const nowSec = options.now ?? Math.floor(Date.now() / 1000);
  const cut = options.cut === true;
  const outcomes = runOnImage({ image, ops, mount: options.mount, nowSec, cut });
  const failed = outcomes.filter(({ ok }) => !ok).length;
  emit(
    options.format,
    {
      document: { schema: 1, image, script: scriptPath, mount: options.mount, cut, failed, operations: outcomes },
      rows: outcomes.map((row) => ({ ...row })),
      notes: [`${outcomes.length} operations, ${failed} failed`],
    },
    print,
  );
  if (failed > 0) process.exitCode = EXIT.missed;
}

async function checkImage(path: string, { format }: Formatted): Promise<void> {
  const { openOrDamage } = await import("../ext4/image_file.ts");
  const { Checker, DAMAGE, isRefusal } = await import("../../kernel/index.ts");
  const opened = openOrDamage(path);
  const report = isRefusal(opened)
    ? {
        clean: false,
        counts: new Map([["superblock" as const, 1]]),
        damage: [{ kind: "superblock" as const, text: opened.reason }],
        inodes: 0,
        directories: 0,
      }
    : new Checker().run(opened.image, opened.sb);
  const counts = Object.fromEntries(DAMAGE.map((kind) => [kind, report.counts.get(kind) ?? 0]));
  const damage = report.damage.map(({ kind, text }) => ({ kind, text }));
  emit(format, {
    document: {
      schema: 1,
      image: path,
      clean: report.clean,
      inodes: report.inodes,
      directories: report.directories,
      counts,
      damage,
    },
    rows: report.clean
      ? [{ image: path, clean: true, inodes: report.inodes, directories: report.directories }]
      : damage,
    ...(report.clean ? {} : { title: `${path}: damaged` }),
  });
  if (!report.clean) process.exitCode = EXIT.invariant;
}

async function infoImage(path: string, { format }: Formatted): Promise<void> {
  const { openExt4 } = await import("../ext4/image_file.ts");
  const { infoOf } = await import("../ext4/info.ts");
  const { image, sb } = openExt4(path);
  const fields = infoOf(image, sb);
  emit(format, {
    document: { schema: 1, image: path, ...fields },
    rows: Object.entries(fields).map(([field, value]) => ({ field, value })),
  });
}

async function logImage(path: string, { format, all }: Formatted & { readonly all?: boolean }): Promise<void> {
  const { openExt4 } = await import("../ext4/image_file.ts");
  const { journalLines, fastCommitLines } = await import("../ext4/journal_words.ts");
  const { openJournal } = await import("../../kernel/index.ts");
  const { image, sb } = openExt4(path);
  if (sb.journalIno === 0) throw new UserError(`${path} has no journal of its own`);
  const journal = openJournal(image, sb);
  if ("reason" in journal) throw new UserError(`${path}: ${journal.reason}`, EXIT.invariant);
  const blocks = journalLines(journal, all === true);
  const fastCommits = fastCommitLines(sb, journal);
  emit(format, { document: { schema: 1, image: path, blocks, fastCommits }, rows: [...blocks, ...fastCommits] });
}

/** An inode of an image by its path. */
async function find(image: string, path: string, follow: boolean) {
  const { openExt4 } = await import("../ext4/image_file.ts");
  const { damaged, errnoText } = await import("../ext4/tree.ts");
  const { resolve, inodeAt } = await import("../../kernel/index.ts");
  const { ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, isErr } = await import("../../kernel/abi/errno.ts");
  const opened = openExt4(image);
  const ino = resolve(opened.image, opened.sb, Buffer.from(path), follow);
  if (isErr(ino)) {
    const isUsers = ([ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG] as number[]).includes(ino);
    if (isUsers) throw new UserError(`${path} in ${image}: ${errnoText(ino)}`);
    throw damaged(path, ino);
  }
  return { ...opened, found: { path, ino, at: inodeAt(opened.image, opened.sb, ino) } };
}

async function listDirectory(path: string, inside: string, { format }: Formatted): Promise<void> {
  const { image, sb, found } = await find(path, inside, true);
  const { entriesOf, damaged, latin, TYPE_LETTERS } = await import("../ext4/tree.ts");
  const { ext4Inode, ext4Layout, inodeAt, readLink } = await import("../../kernel/index.ts");
  const isDirectory = ext4Inode.inodeType(image.view, found.at) === ext4Layout.S_IFDIR;
  const entries = isDirectory ? entriesOf(image, sb, found.at) : [{ name: inside, ino: found.ino }];
  if (!Array.isArray(entries)) throw damaged(inside, entries);
  const rows = entries.map(({ name, ino }) => {
    const at = inodeAt(image, sb, ino);
    if (at < 0) return { inode: ino, type: "?", mode: "-", links: null, size: null, name };
    const type = ext4Inode.inodeType(image.view, at);
    const target = type === ext4Layout.S_IFLNK ? readLink(image, sb, at) : undefined;
    return {
      inode: ino,
      type: TYPE_LETTERS[type] ?? "?",
      mode: (ext4Inode.inodeMode(image.view, at) & 0o7777).toString(8),
      links: ext4Inode.inodeLinks(image.view, at),
      size: ext4Inode.inodeSizeBytes(sb, image.view, at),
      name: target instanceof Uint8Array ? `${name} -> ${latin(target)}` : name,
    };
  });
  emit(format, { document: { schema: 1, image: path, path: inside, entries: rows }, rows }, print);
}

async function catFile(path: string, inside: string): Promise<void> {
  const opened = await findFile(path, inside);
  const { eachPiece } = await import("../ext4/tree.ts");
  eachPiece(opened.image, opened.sb, opened.found, (piece) => void process.stdout.write(piece.slice()));
}

async function findFile(path: string, inside: string) {
  const opened = await find(path, inside, true);
  const { ext4Inode, ext4Layout } = await import("../../kernel/index.ts");
  if (ext4Inode.inodeType(opened.image.view, opened.found.at) !== ext4Layout.S_IFREG)
    throw new UserError(`${inside} in ${path} is no regular file; orrery ext4 stat says what it is`);
  return opened;
}

async function statFile(path: string, inside: string, { format }: Formatted): Promise<void> {
  const { image, sb, found } = await find(path, inside, false);
  const { statOf } = await import("../ext4/info.ts");
  const fields = statOf(image, sb, found);
  emit(
    format,
    {
      document: { schema: 1, image: path, ...fields },
      rows: Object.entries(fields).map(([field, value]) => ({ field, value })),
    },
    print,
  );
}

async function getFile(path: string, from: string, to: string, { force }: { readonly force?: boolean }): Promise<void> {
  const opened = await findFile(path, from);
  const { eachPiece } = await import("../ext4/tree.ts");
  if (existsSync(to) && force !== true) throw new UserError(`${to} is there: choose another name, or add --force`);
  const file = openSync(to, "w");
  try {
    eachPiece(opened.image, opened.sb, opened.found, (piece) => {
      for (let at = 0; at < piece.length;) at += writeSync(file, piece, at);
    });
  } finally {
    closeSync(file);
  }
}

interface PutWords extends Formatted {
  readonly force?: boolean;
  readonly mount: string;
  readonly mode?: string;
  readonly now?: number;
}

async function putInto(image: string, from: string, to: string, words: PutWords): Promise<void> {
  const { putFile } = await import("../ext4/put.ts");
  const { mode, mount, format } = words;
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode))
    throw new UserError(`--mode ${mode} is no number of up to four octal digits, such as 644`);
  const nowSec = words.now ?? Math.floor(Date.now() / 1000);
  const permissions = mode === undefined ? {} : { mode: Number.parseInt(mode, 8) };
  const bytes = putFile({ image, from, to, mount, force: words.force === true, nowSec, ...permissions });
  emit(format, { document: { schema: 1, image, from, to, bytes }, rows: [{ image, to, bytes }] });
}

async function printManifest(path: string): Promise<void> {
  const { openExt4 } = await import("../ext4/image_file.ts");
  const { manifest } = await import("../ext4/tree.ts");
  const { image, sb } = openExt4(path);
  print(
    manifest(image, sb)
      .map((line) => `${line}\n`)
      .join(""),
  );
}
