/** How the command ends: the documented exit codes, and the one kind of error that is the user's to read. */
export const EXIT = {
  ok: 0,
  /** A threshold the user set was missed, or a comparison failed. */
  missed: 1,
  /** Wrong arguments, unreadable or malformed input, or an unsuitable environment. */
  usage: 2,
  /** The machine broke an invariant, or a check found damage. */
  invariant: 3,
  /** A program that the command needs is not installed. */
  tool: 4,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A mistake that one line explains: what, the value, and the way out. Printed without a stack. */
export class UserError extends Error {
  override readonly name = "UserError";
  readonly exitCode: ExitCode;
  constructor(message: string, exitCode: ExitCode = EXIT.usage) {
    super(message);
    this.exitCode = exitCode;
  }
}
