// Package hub serves an index over HTTP and takes publications in (index.md 9,
// its first part).
//
// [OpenFiles] serves the files of an index as they are: any web server could.
// [New] makes a hub, which serves them too and lets operators and release
// signers publish: it takes objects, plans, statements, releases and yanks,
// judges them by a policy, and hands them to the one writer of the index.
// [Serve] runs either with limits on everything that a peer could make grow.
// [Client] is the other side.
//
// What a hub takes is stored as it was sent and given back byte for byte. It
// holds no key that signs a release, and its word counts for nothing with who
// verifies: a hub can withhold, and not forge. What was withheld is found by
// whoever sent it, with [Client.Await].
//
// # Writes
//
// A release, a statement and a yank carry their own signatures. Bytes that do
// not, objects and plans, are taken from keys that the policy has for operators,
// signers and index entries, and from owners of packages in the index, with
//
//	Authorization: Rebuild key_id=ID,time=TIME,sig=BASE64
//
// over rebuild.http.v1, the method, the path, the digest of the body and the
// time, a line each. There are no bearer secrets; a request that is sent again
// within the 300 seconds for which it is good stores the same bytes again.
//
// # What a hub keeps
//
// What is not in the index yet lies in the data folder: files below uploads,
// and hub.db, which says what they are, which statements wait for a release in
// an index without a log, what was written by whom, and lists the index for
// GET /entries. All but the waiting statements can be lost: who uploaded does
// it again.
package hub
