package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Access is how a registry is reached.
type Access struct {
	Client *http.Client // for all requests; it follows redirects without credentials
	// DockerConfig is the config.json that docker login writes; its helpers are
	// run. "" or a file that is missing is no credentials.
	DockerConfig string
	PlainHTTP    bool   // no TLS, to whatever host; to this machine it is never used
	UserAgent    string // program and version
}

// repository is a repository of a registry.
type repository struct{ *remote.Repository }

// OpenRegistry names a repository of a registry, REGISTRY/REPOSITORY without
// tag or digest (USAGE). Nothing is requested yet. A registry on this machine
// is spoken to without TLS.
func OpenRegistry(reference string, a Access) (Place, error) {
	ref, err := registry.ParseReference(reference)
	if err != nil {
		return nil, fault.New(fault.Usage, "%q is no repository of a registry: %w", reference, err).
			WithHint("write REGISTRY/REPOSITORY, or ./DIR for an image layout")
	}
	if ref.Reference != "" {
		return nil, fault.New(fault.Usage, "%q names one image of a repository", reference).
			WithHint("write %s/%s", ref.Registry, ref.Repository)
	}
	client := &auth.Client{Client: a.Client, Cache: auth.NewCache()}
	client.SetUserAgent(a.UserAgent)
	if a.DockerConfig != "" {
		held, err := credentials.NewStore(a.DockerConfig, credentials.StoreOptions{})
		if err != nil {
			return nil, fault.New(fault.Usage, "%s: %w", a.DockerConfig, err)
		}
		client.Credential = credentials.Credential(held)
	}
	return &repository{&remote.Repository{
		Client: client, Reference: ref, PlainHTTP: a.PlainHTTP || local(ref.Host()),
		MaxMetadataBytes: maxManifest, ReferrerListMaxPages: 1000,
		SkipReferrersGC: true, // deleting is for the owner of the registry
	}}, nil
}

// local says whether a host is this machine, whatever the resolver says.
func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (r *repository) String() string { return "registry " + r.name() }

func (r *repository) name() string { return r.Reference.Registry + "/" + r.Reference.Repository }

func (r *repository) manifest(ctx context.Context, d store.Digest) ([]byte, error) {
	desc, body, err := r.Manifests().FetchReference(ctx, string(d))
	if err != nil {
		return nil, r.failed("fetching manifest "+string(d), err)
	}
	raw, err := readAll(body, maxManifest)
	if err != nil {
		return nil, r.failed("fetching manifest "+string(d), err)
	}
	return checked(descriptor{Digest: d, Size: desc.Size}, raw)
}

func (r *repository) blob(ctx context.Context, d descriptor) ([]byte, error) {
	body, err := r.Blobs().Fetch(ctx, d.oci())
	if err != nil {
		return nil, r.failed("fetching blob "+string(d.Digest), err)
	}
	content, err := readAll(body, d.Size)
	if err != nil {
		return nil, r.failed("fetching blob "+string(d.Digest), err)
	}
	return checked(d, content)
}

func (r *repository) putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	there, err := r.Blobs().Exists(ctx, d.oci())
	if err != nil || there {
		return r.failed("looking for blob "+string(d.Digest), err)
	}
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	return r.failed("pushing blob "+string(d.Digest), r.Blobs().Push(ctx, d.oci(), content))
}

// putManifest pushes a manifest. For a referrer on a registry without the
// referrers API, remote adds it to the index under the fallback tag, with its
// type and annotations, and keeps what others have there.
func (r *repository) putManifest(ctx context.Context, d descriptor, raw []byte) error {
	m, err := parseManifest(raw)
	if err != nil {
		return err
	}
	if m.Subject != nil {
		if err := r.checkFallback(ctx, *m.Subject); err != nil {
			return err
		}
	}
	return r.failed("pushing manifest "+string(d.Digest), r.Manifests().Push(ctx, d.oci(), bytes.NewReader(raw)))
}

func (r *repository) referrers(ctx context.Context, subject descriptor) ([]store.Digest, error) {
	var out []store.Digest
	err := r.Referrers(ctx, subject.oci(), "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			parsed, err := store.ParseDigest(string(d.Digest))
			if err != nil {
				return err
			}
			if out = append(out, parsed); len(out) > maxReferrers {
				return fault.New(fault.Structure, "more than %d referrers, no more are read", maxReferrers)
			}
		}
		return nil
	})
	return out, r.failed("listing the referrers of "+string(subject.Digest), err)
}

// checkFallback refuses to list referrers under a fallback tag that stands for
// something else than a list of them: remote would take it for none and put
// its own in the place. Some registries let the tag stand for the subject
// itself, which then loses nothing.
func (r *repository) checkFallback(ctx context.Context, subject descriptor) error {
	// remote has asked for the referrers before, so it knows whether the API is
	// there; it says so only by refusing to learn otherwise.
	if r.SetReferrersCapability(true) == nil {
		return nil
	}
	tag := fallbackTag(subject.Digest)
	d, err := r.Resolve(ctx, tag)
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return nil
	case err != nil:
		return r.failed("looking for tag "+tag, err)
	case d.MediaType == ocispec.MediaTypeImageIndex || string(d.Digest) == string(subject.Digest):
		return nil
	}
	return fault.New(fault.Structure, "tag %s of %s is for what refers to an image, and stands for %s of type %s", tag, r.name(), d.Digest, d.MediaType).
		WithHint("give that image another tag and remove this one")
}

func (d descriptor) oci() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size}
}

// failed gives an error of a request its code. What is not there is
// FILE_MISSING; a registry that does not do what it is asked is INDEX_FETCH.
func (r *repository) failed(doing string, err error) error {
	var coded *fault.Error
	var refused *errcode.ErrorResponse
	switch {
	case err == nil, errors.As(err, &coded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errdef.ErrNotFound):
		return fault.New(fault.FileMissing, "%s: %w", doing, err)
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return fault.New(fault.IndexFetch, "%s: %w", doing, err).WithHint("log in with: docker login %s", r.Reference.Registry)
	}
	return fault.New(fault.IndexFetch, "%s: %w", doing, err)
}
