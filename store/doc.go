// Package store keeps content by its SHA-256 and says what a tree of files
// is called.
//
// # The store
//
// [Open] a directory; it becomes an OCI image layout that crane, skopeo,
// oras and containerd can read. Everything in it is a blob, named by its
// digest: layers, configs, manifests, the texts of trees, source archives,
// plans. Write with [Store.Put], [Store.Create], [Store.PutDir],
// [Store.PutTar], [Store.PutFiles], [Store.PutSource], [Store.PutImage] and
// [Store.PutManifest]; [Store.Batch] has the same verbs and makes several blobs
// durable for little more than the price of one. A blob is visible only when it
// is complete and on disk. Any number of processes may use a store at once:
// equal content has one name, and the renames of two writers commute.
//
// Nothing that is read is trusted. [Store.Open] and [Store.Read] hash what
// they deliver and give an error (CKSUM_MISMATCH) instead of the end of the
// file when the content is not what its name says; an error that is ignored
// can therefore not look like a short file. [Store.Fsck] rehashes everything.
//
// Files of a layout, beside oci-layout, index.json and blobs/sha256:
//
//	lock   flock(2): shared while blobs are renamed into place, exclusive
//	       while index.json is rewritten or GC deletes
//	tmp/   files being written; what a killed writer left is removed by GC or
//	       [Store.Sweep]
//
// # Trees: rebuild.tree.v1
//
// A tree is a set of entries below a root. Its text lists them one per line
// and its digest is the SHA-256 of that text:
//
//	tree  = "rebuild.tree.v1" LF entry*
//	entry = type SP mode SP uid SP gid SP size SP value SP path LF xattr*
//	xattr = "x" SP name SP value LF
//
//	type  size          value
//	d     -             -
//	f     decimal       sha256:HEX of the content
//	l     -             escaped target; mode is always 0777
//	h     -             escaped path of the leader; mode, uid and gid are "-"
//	c b   -             major,minor, each at most 2097151
//	p     -             -
//
// The mode is four octal digits of the low twelve bits, owners are decimal
// and at most 2^31-1. Every byte outside 0x21 to 0x7e, and the percent sign,
// is written as % and two upper-case hex digits, no other byte is. The first
// entry is always the root, "d 0755 0 0 - - .", whatever the real one's mode
// and owner; the others follow in the order of their raw path bytes. Every
// parent is listed, as a directory. Of the names of one regular file the
// bytewise first is the leader; it alone carries content, owner, mode and
// extended attributes. Neither times nor owner names nor inode numbers count.
// A file that has several names and is not regular is listed at each of them.
//
// Counted attributes are security.capability, system.posix_acl_* and user.*;
// security.selinux is dropped, all else is refused. Refused are further:
// sockets; what union file systems take for deletions (names that start with
// .wh., the device 0,0, attributes with .overlay.); names that are not UTF-8,
// hold NUL, or are longer than the kernel takes. There are at most 10^6
// entries and 512 MiB of text. The package refuses and never repairs: a tree
// that needs another reading has no digest.
//
// # Images
//
// The canonical layer of a tree is an uncompressed tar that is a function of
// tree and epoch. Its entries are those of the text, in its order, without
// the root. Each has one ustar header: magic "ustar" NUL "00", no owner names,
// no prefix; mode, uid, gid, device numbers in seven octal digits, size and
// mtime (the epoch) in eleven, zero-padded and ended by NUL; the checksum in
// six digits, NUL, space. The name of a directory ends in a slash. A hard
// link has size 0, its leader as the link name, and its leader's mode, uid
// and gid. Content is padded with zeros to 512 bytes, and two zero blocks end
// the whole.
//
// What does not fit goes into a PAX header before the entry (type x, name
// "PaxHeader", the size of its records, all other numbers 0), sorted by key:
// SCHILY.xattr.NAME for each attribute, gid and uid above 2097151, size above
// 8589934591, path and linkpath that are longer than 100 bytes or not ASCII.
// The ustar field then holds 0, or the first 100 bytes. There are no records
// that are not needed. A file whose attributes take more than about 1 MiB of
// records is refused, because common readers refuse it.
//
// The config and the manifest are canonical JSON; see [ImageConfig] and
// [Store.PutImage]. So the manifest's digest depends on the tree, the
// platform, the image settings and the epoch alone. archive/tar can read the
// layer but not write it byte for byte, hence the writer here; it also writes
// package archives ([WriteArchive]).
//
// testdata/tree-vectors.json at the top of the module holds cases with their
// digests, and refusals with their cause, for a second implementation.
//
// # Foreign archives
//
// [Store.PutSource] unpacks a source archive into a tree without touching the
// disk under any name the archive chose, and [Store.Extract] writes a layer
// of ours below one directory through [os.Root]. Both are bounded by [Limits].
package store
