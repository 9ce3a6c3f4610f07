/**
 * What a crash may leave of a file system that has no journal and writes in place, in the words of its checker and of
 * Linux: kinds of damage that any order of its writes explains. Everything else that they say is flagged, and all of it is
 * when it is said of a file that was synced and not touched since.
 *
 * | kind              | why it may be |
 * |-------------------|---------------|
 * | dirty             | it was mounted |
 * | free count        | the count of free clusters is a hint, written now and then |
 * | lost clusters     | taken in the table of clusters, the entry that names them not written; or the other way round when a file goes |
 * | untaken clusters  | the entry was written, its clusters not yet marked as taken |
 * | size and clusters | size (in the entry) and chain (in the table) are written apart |
 * | shared clusters   | clusters of a deleted file were given away; the deletion was not written |
 * | tables differ     | the second copy of the table is written behind the first |
 * | entries           | an entry that spans sectors was written in part; a new directory's own block was not written |
 * | unreadable        | Linux stops where a chain ends too early |
 * | unflushed sync    | vfat: what a sync wrote is not there, and no fsync came after it (promises.ts) |
 */
export type Expected = readonly (readonly [kind: string, line: RegExp])[];

export const UNFLUSHED_KIND = "unflushed sync";

/** fsck.fat of dosfstools. */
export const FAT_WORDS: Expected = [
  ["dirty", /^Dirty bit is set/],
  // The dirty bit of FAT32 is in the boot sector, not in its backup.
  ["dirty", /^There are differences between boot sector and its backup|^65:0[01]\/0[01]$/],
  ["free count", /^Free cluster summary/],
  ["lost clusters", /^Reclaimed \d+ unused cluster/],
  ["untaken clusters", /^Contains a (?:free|bad) cluster/],
  ["size and clusters", /^File size is \d+ bytes, cluster chain length is/],
  ["shared clusters", /^share clusters/],
  ["shared clusters", /^Circular cluster chain/],
  ["tables differ", /^FATs differ but appear to be intact/],
  ["entries", /^(?:Orphaned|Unfinished|Wrong checksum for) long file name|^A new long file name starts/],
  ["entries", /^Bad short file name|^Has a large number of bad entries|^Duplicate directory entry/],
  ["entries", /^Expected a valid '|^Invalid '|^Start does point to|^Start cluster beyond limit|^Bad start cluster/],
  ["entries", /^Directory has non-zero size|^Is a dot with no 8.3 name flag/],
];

/** fsck.exfat of exfatprogs; the file stands before it. */
export const EXFAT_WORDS: Expected = [
  ["dirty", /^volume (?:is|was) (?:dirty|not clean)/i],
  ["untaken clusters", /^ERROR: .*: cluster 0x[0-9a-f]+ is marked as free/],
  ["untaken clusters", /^ERROR: .*: (?:broken cluster chain|BAD cluster|empty, but has no Fat chain)/],
  ["size and clusters", /^ERROR: .*: (?:more|less) clusters are allocated/],
  ["size and clusters", /^ERROR: .*: (?:valid )?size \w+(?:,| greater than| is greater)/],
  ["shared clusters", /^ERROR: .*: cluster is already allocated for the other file/],
  ["entries", /^ERROR: .*: (?:the checksum of a file is wrong|a file has too few secondary count)/],
  ["entries", /^ERROR: .*: failed to get (?:a|stream|name) dentry|^ERROR: .*: the name (?:length|hash) of a file/],
  ["entries", /^ERROR: .*: (?:unknown entry type|directory size \d+ is not divisible)/],
];

/** Of both kernel modules, and what a program hears that reads such a file. */
export const LINUX_WORDS: Expected = [
  ["unreadable", /FAT-fs \(\w+\): (?:error|Filesystem has been set read-only)/],
  ["unreadable", /: Input\/output error$/],
];
