package folder

import (
	"path/filepath"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/internal/spdx"
	"rebuild/store"
)

// States of a package between build and publication.
const (
	Verified   = attest.PackageVerified
	Failed     = attest.PackageFailed
	Unverified = attest.PackageUnverified
)

// Expect is what a publisher says of a folder before looking into it.
type Expect struct {
	Name, Version string
	Archive       store.Digest // as the build printed it; "": whatever it is
	Rebuild       string       // this version of rebuild
	StrictLicense bool         // a license that is not SPDX is refused
}

// Checked is what [Folder.Check] found, as far as it came.
type Checked struct {
	State    string
	Checks   []string // that held, in order
	Warnings []string
	Failures []attest.FileFailure
	Document *attest.PackageDocument
	Files    *attest.FilesDocument // nil without an inventory
	Package  *attest.Package       // nil unless everything held
}

func (c *Checked) held(what string) { c.Checks = append(c.Checks, what) }

// Check compares a folder with its inventory, if it has one, and with what is
// expected, and makes the archive to publish. The errors are those of
// [Folder.CompareInventory] and [attest.OpenArchive]; another name or version is
// EVIDENCE_MISMATCH, another archive than expected CKSUM_MISMATCH, and a payload
// that no release speaks for TREE_MISMATCH. All files that differ are in
// Failures.
func (f *Folder) Check(e Expect) (*Checked, error) {
	c := &Checked{State: Failed}
	if err := c.inventory(f); err != nil {
		return c, err
	}
	if err := c.metadata(f, e); err != nil {
		return c, err
	}
	epoch := int64(attest.BareEpoch)
	if c.Files != nil {
		epoch = c.Files.SourceDateEpoch
	}
	raw, err := f.Archive(epoch)
	if err != nil {
		return c, err
	}
	// This compares again, now with the bytes that will be published.
	if c.Package, err = attest.OpenArchive(f.dir, raw); err != nil {
		return c, err
	}
	c.held("archive")
	if got := store.DigestOf(raw); e.Archive != "" && got != e.Archive {
		c.Package = nil
		return c, fault.New(fault.CksumMismatch, "the archive of the folder has %s, %s was built", got, e.Archive).
			WithHint("publish the folder that the build made")
	}
	if e.Archive != "" {
		c.held("digest that the build printed")
	}
	if c.State = Unverified; c.Files != nil {
		c.State = Verified
	}
	return c, nil
}

// inventory compares the content.
func (c *Checked) inventory(f *Folder) error {
	if !f.Has(attest.FilesFile) {
		c.Warnings = append(c.Warnings, "there is no "+attest.FilesFile+", so nothing shows that this is what was built: "+manifestHint)
		return nil
	}
	raw, err := f.Content(attest.FilesFile, document.Files.MaxBytes)
	if err != nil {
		return err
	}
	if c.Files, err = attest.DecodeFiles(filepath.Join(f.dir, attest.FilesFile), raw); err != nil {
		return err
	}
	if c.Failures, err = f.CompareInventory(c.Files); err != nil {
		return err
	}
	c.Checks = append(c.Checks, "every listed file", "no other file", "hash of all files")
	if len(c.Files.Payloads) > 0 {
		p := c.Files.Payloads[0]
		return fault.New(fault.TreeMismatch, "payload %s %s says that tree %s was voted for, and a folder has no votes", p.Platform, p.Target, p.Tree).
			WithHint("publish it with rebuild release, which brings the votes")
	}
	return nil
}

const manifestHint = "build it with rebuild pkg build --include-manifest"

// metadata checks what the package says of itself.
func (c *Checked) metadata(f *Folder, e Expect) error {
	if !f.Has(attest.PackageFile) {
		return fault.New(fault.FileMissing, "%s has no file %s", f.dir, attest.PackageFile).
			WithHint("make the folder with rebuild pkg build")
	}
	var err error
	c.Document, _, err = metadata(f.dir, func(name string, limit int64) ([]byte, error) {
		if !f.Has(name) {
			return nil, nil
		}
		return f.Content(name, limit)
	})
	if err != nil {
		return err
	}
	if c.Document.Name != e.Name || names.CompareVersions(c.Document.Version, e.Version) != 0 {
		return fault.New(fault.EvidenceMismatch, "the folder is %s@%s, not %s@%s", c.Document.Name, c.Document.Version, e.Name, e.Version).
			WithHint("name another folder, or build it from a package.toml that says so")
	}
	c.held("name and version")
	if err := c.Rules(e.Rebuild, e.StrictLicense); err != nil {
		return fault.In(err, filepath.Join(f.dir, attest.PackageFile))
	}
	c.held("metadata")
	return nil
}

// Rules are those for authors alone, who can still mend what they break: an
// old package is read with any version and license.
func (c *Checked) Rules(rebuild string, strict bool) error {
	if err := c.Document.CheckCompat(rebuild); err != nil {
		return err
	}
	err := spdx.Check(c.Document.License)
	if err == nil || strict {
		return err
	}
	c.Warnings = append(c.Warnings, err.Error())
	return nil
}
