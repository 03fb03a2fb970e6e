package index

import (
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"rebuild/internal/fault"
)

// Location is where an index is: a folder, or the URL of one on a server.
type Location struct {
	Dir string   // "" for a server
	URL *url.URL // of the folder, ended by "/", without credentials; nil for a folder
	// User is what the URL said before "@", for this server alone; nil for nothing.
	User *url.Userinfo
	// Bare says that only a server was named: its index is at /index/ if there
	// is one, and at / else. URL is the former.
	Bare bool
	// Hub is the address of the hub, if that was named instead of its index.
	Hub string
	// Flat says that entries.json was named, which may be all that is there: [Flat].
	Flat bool
}

// String names the place in errors and in state.json. It never has credentials.
func (l Location) String() string {
	if l.URL == nil {
		return l.Dir
	}
	return l.URL.String()
}

// Locate reads where somebody says that an index is (requirements A29, B13):
//
//	path, file:///path              a folder; of config.json the folder it is in; of entries.json
//	                                that too, or what the list says if it is no index
//	https://host/path               a folder on a server
//	https://host                    the server's index: /index/, or / if there is none
//	https://host/entries            the same, as that server lists it
//	sparse+https://host/path/       the same folder, as package managers write it: it must end in "/"
//	sparse+file:///path/
//
// Anything else is USAGE. A relative path stays one.
func Locate(text string) (Location, error) {
	sparse, rest := false, text
	if after, ok := strings.CutPrefix(text, "sparse+"); ok {
		sparse, rest = true, after
	}
	scheme, _, isURL := strings.Cut(rest, "://")
	switch {
	case !isURL && sparse:
		return Location{}, badLocation(text, "sparse+ stands before a URL")
	case !isURL:
		if rest == "" {
			return Location{}, badLocation(text, "it is empty")
		}
		return Location{Dir: withoutFile(rest), Flat: namesList(rest)}, nil
	case sparse && !strings.HasSuffix(rest, "/"):
		return Location{}, fault.New(fault.Usage, "index location %q does not end in \"/\"", redacted(text)).WithHint("write it %s/", redacted(text))
	case strings.EqualFold(scheme, "file"):
		return locateFile(text, rest)
	case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "https"):
		return locateServer(text, rest)
	}
	return Location{}, badLocation(text, "only file, http and https are read")
}

func badLocation(text, why string) error {
	return fault.New(fault.Usage, "index location %q: %s", redacted(text), why).
		WithHint("give a folder, file:///FOLDER or https://HOST/FOLDER/")
}

// redacted is a location without its password, which is not for whoever reads
// errors.
func redacted(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return text[strings.LastIndex(text, "@")+1:]
}

// withoutFile lets people name a file of the index instead of its folder.
func withoutFile(p string) string {
	if filepath.Base(p) == configFile || namesList(p) {
		return filepath.Dir(p)
	}
	return p
}

func namesList(p string) bool { return filepath.Base(p) == pageName(entriesFile, 0) }

func locateFile(text, rest string) (Location, error) {
	u, err := url.Parse(rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) {
		return Location{}, badLocation(text, "a file URL is file:///FOLDER")
	}
	return Location{Dir: withoutFile(filepath.FromSlash(path.Clean(u.Path))), Flat: namesList(u.Path)}, nil
}

func locateServer(text, rest string) (Location, error) {
	u, err := url.Parse(rest)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return Location{}, badLocation(text, "it is not the URL of a server")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Location{}, badLocation(text, "a query or fragment names no folder")
	}
	l := Location{User: u.User}
	u.User, u.RawPath, u.Scheme = nil, "", strings.ToLower(u.Scheme)
	if l.User != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return Location{}, badLocation(text, "credentials would be sent in the clear")
	}
	switch p := strings.TrimSuffix(u.Path, "/"); {
	case p == "" || p == "/entries":
		u.Path, l.Bare, l.Hub = "/index/", p == "", u.Scheme+"://"+u.Host
	case strings.HasSuffix(p, "/entries"):
		u.Path = strings.TrimSuffix(p, "entries")
		l.Hub = strings.TrimSuffix(u.String(), "/")
		u.Path += "index/"
	default:
		l.Flat = namesList(p)
		u.Path = withoutFile(p) + "/"
	}
	l.URL = u
	return l, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}
