// Package pull brings packages from an index to a disk: [Pull] a package with
// all that it needs, [Mirror] the files of an index itself.
//
// Nothing that was not verified becomes visible. A pull gathers archives below
// the state root by digest, so that a next one goes on where it was cut, and
// lays them out in a hidden folder beside the output, which is renamed when
// everything in it was verified by the policy. A mirror copies exactly the files
// that a verification has read.
//
// What verifies is package index; this package adds who needs whom: the
// snapshots that releases pin, cycles and the length of chains.
package pull
