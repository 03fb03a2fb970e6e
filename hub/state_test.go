package hub

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// authored enters a package that nobody has rebuilt, with an inventory or
// without, into the index of a site that does not serve yet.
func authored(t testing.TB, x Index, name string, inventory bool) *index.Entry {
	t.Helper()
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.Replace(attesttest.PackageTOML, `"hello"`, `"`+name+`"`, 1)))
	must(t, err)
	pkg, err := attest.Pack(image, nil, attesttest.Epoch)
	must(t, err)
	if !inventory {
		var raw bytes.Buffer
		_, err := store.WriteArchive(&raw, []store.File{{Path: attest.PackageFile, Mode: 0o644, Data: image}}, attest.BareEpoch)
		must(t, err)
		pkg, err = attest.OpenArchive("bare", raw.Bytes())
		must(t, err)
	}
	e, _, err := x.(*index.Index).AddPackage(t.Context(), pkg)
	must(t, err)
	return e
}

// C16: a listing says verified of what passed every check, unverified of what
// has no inventory, and failed of what is not what was published, as soon as it
// is so and no longer than that.
func TestC16_StatesInListings(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		var with *index.Entry
		s := newSite(t, logged, func(s *site, o *Options, _ *Service) {
			with = authored(t, o.Index, "with", true)
			authored(t, o.Index, "bare", false)
		})
		s.published()
		states := func() map[string]string {
			out := map[string]string{}
			for _, e := range answerOf[Listing](t, s.ask("GET", "/entries", nil), 200).Entries {
				out[e.Name] = e.State
				one := answerOf[Listing](t, s.ask("GET", "/entries/"+e.Name, nil), 200).Entries[0].State
				head := s.ask("GET", "/entries/"+e.Name+"/"+e.Version, nil).Header.Get(StateHeader)
				if one != e.State || head != e.State {
					t.Errorf("%s is %s, %s and %s", e.Name, e.State, one, head)
				}
			}
			return out
		}
		want := func(with string) {
			t.Helper()
			got := states()
			if len(got) != 3 || got["hello"] != attest.PackageVerified || got["bare"] != attest.PackageUnverified || got["with"] != with {
				t.Errorf("%v", got)
			}
		}
		archive := filepath.Join(s.dir, "objects/sha256", with.Cksum)
		good, err := os.ReadFile(archive)
		must(t, err)
		must(t, os.Remove(archive))
		want(attest.PackageFailed)
		must(t, os.WriteFile(archive, []byte("another archive"), 0o644))
		want(attest.PackageFailed)
		must(t, os.WriteFile(archive, good, 0o644))
		want(attest.PackageVerified)
	})
}

// What was found of one entry says nothing of another that has its archive under
// a false name or version.
func TestStateIsOfTheEntry(t *testing.T) {
	var good *index.Entry
	s := newSite(t, false, func(_ *site, o *Options, _ *Service) { good = authored(t, o.Index, "with", true) })
	renamed, later := *good, *good
	renamed.Name, later.Version = "other", "99.0.0"
	for _, c := range []struct {
		entry *index.Entry
		want  string
	}{{good, attest.PackageVerified}, {&renamed, attest.PackageFailed}, {&later, attest.PackageFailed}, {good, attest.PackageVerified}} {
		if got, err := s.hub.stateOf(t.Context(), c.entry); err != nil || got != c.want {
			t.Errorf("%s@%s is %s, %v, want %s", c.entry.Name, c.entry.Version, got, err, c.want)
		}
	}
}

// D3, D8: the data folder of another version is refused like any document, with
// what it is, what would be read and why no migration helps; nothing is guessed
// from it.
func TestD8_DataFolderOfAnotherVersion(t *testing.T) {
	s := newSite(t, false)
	must(t, s.hub.Close())
	db := &database{}
	path := filepath.Join(s.data, databaseFile)
	must(t, db.open(path))
	_, err := db.write.Exec("PRAGMA user_version = 7")
	must(t, err)
	must(t, errors.Join(db.read.Close(), db.write.Close()))
	before, err := os.ReadFile(path)
	must(t, err)

	_, err = New(t.Context(), s.hub.Options)
	code(t, err, fault.SchemaUnsupported)
	var e *fault.Error
	m, ok := document.Migration{}, false
	if errors.As(err, &e) {
		m, ok = e.Details["migration"].(document.Migration)
	}
	if !ok || m.Code != fault.MigrationFailed || e.Details["found"] != "rebuild.hub@7" || !slices.Equal(e.Details["supported"].([]string), []string{"rebuild.hub@2"}) || e.Hint == "" {
		t.Errorf("%+v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Error("it was written")
	}
	must(t, os.Remove(path)) // it can be lost
	again, err := New(t.Context(), s.hub.Options)
	must(t, err)
	*s.hub = *again
}
