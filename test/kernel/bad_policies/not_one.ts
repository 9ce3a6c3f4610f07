/** A module that exports something else. */
export const policies = 3;
