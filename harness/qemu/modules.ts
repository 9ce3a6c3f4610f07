/**
 * What a kernel module needs before it can be loaded, by its own word: the string `depends=a,b` of its .modinfo section
 * (Linux's scripts/mod/modpost.c writes it). The package has no modules.dep: that file is made where it is installed.
 *
 * - dependsOf(module)                 names of other modules
 * - withDependencies(names, bytesOf)  each module once, behind all that it needs
 */
const DEPENDS = Buffer.from("\0depends=");

export function dependsOf(module: Buffer): string[] {
  const at = module.indexOf(DEPENDS);
  if (at < 0) return [];
  const from = at + DEPENDS.length;
  const names = module.toString("latin1", from, module.indexOf(0, from));
  return names.split(",").filter((name) => name !== "");
}

export function withDependencies(names: readonly string[], bytesOf: (name: string) => Buffer): string[] {
  const ordered: string[] = [];
  const visit = (name: string): void => {
    if (ordered.includes(name)) return;
    for (const other of dependsOf(bytesOf(name))) visit(other);
    ordered.push(name);
  };
  for (const name of names) visit(name);
  return ordered;
}
