package server

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kedge/share"
	"kedge/snapshotter"
)

// addressed is a site whose share is for one key, that key, and another.
func addressed(t *testing.T, size int) (w *site, hers, another share.Signer) {
	t.Helper()
	w = newSite(t, size, "")
	load := func(name string) share.Signer {
		s, err := share.LoadSigner(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	hers, another = load("hers"), load("another")
	text, err := w.registry.Head(w.one.ID)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := share.ReadHead(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := sealed.Open()
	if err != nil {
		t.Fatal(err)
	}
	public := hers.Public()
	w.open = w.one
	if w.one, err = w.registry.Add(context.Background(), w.store, sealed, m, &public); err != nil {
		t.Fatal(err)
	}
	if w.token, err = w.signer.Token(w.one.Capability()); err != nil {
		t.Fatal(err)
	}
	return w, hers, another
}

func (w *site) link() share.Link { return share.Link{Base: w.base, Share: w.one.ID, Token: w.token} }

func TestALinkForOneKeyOpensForItAlone(t *testing.T) {
	w, hers, another := addressed(t, 20<<20)
	ctx := context.Background()
	r, err := share.OpenLink(ctx, w.link(), hers)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	store, err := snapshotter.Open(ctx, snapshotter.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if moved, err := share.Fetch(ctx, store, r.Manifest, r, nil, func(int64, int64) {}); err != nil || moved != int64(len(w.all)) {
		t.Fatal(moved, err)
	}
	for name, signer := range map[string]share.Signer{"another": another, "nobody": {}, "the author": w.signer} {
		if _, err := share.OpenLink(ctx, w.link(), signer); !errors.Is(err, share.ErrAudience) || !errors.Is(err, share.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The token says for whom it is, and is signed.
	open := w.one
	open.For = ""
	loose, err := w.signer.Token(open.Capability())
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.ask(t, "GET", w.path("manifest"), "Authorization", "Bearer "+loose); status != 401 {
		t.Error("a token for everybody opens a share for one", status)
	}
}

func TestAProofIsGoodForOneRequestOnce(t *testing.T) {
	w, hers, another := addressed(t, 3<<20)
	bearer := []string{"Authorization", "Bearer " + w.token}
	challenge := func() string {
		status, h, body := w.ask(t, "GET", w.path("manifest"), bearer...)
		if status != 401 || h.Get("Kedge-Error") != "audience" || h.Get("Kedge-Challenge") == "" || !strings.Contains(body, "kedge open") {
			t.Fatal(status, h, body)
		}
		return h.Get("Kedge-Challenge")
	}
	right := share.Proof{Base: w.base, Share: w.one.ID, Token: share.TokenDigest(w.token), What: "pieces", Range: "bytes=0-9"}
	ask := func(signer share.Signer, p share.Proof, what, bytes string) int {
		text, err := signer.Prove(p)
		if err != nil {
			t.Fatal(err)
		}
		status, _, body := w.ask(t, "GET", w.path(what), append(bearer, "Kedge-Proof", text, "Range", bytes)...)
		if status == 206 && body != string(w.all[:10]) {
			t.Error("other bytes")
		}
		return status
	}
	fresh := func(change func(p *share.Proof)) share.Proof {
		p := right
		p.Challenge = challenge()
		change(&p)
		return p
	}
	once := fresh(func(*share.Proof) {})
	if status := ask(hers, once, "pieces", "bytes=0-9"); status != 206 {
		t.Fatal(status)
	}
	elsewhere, _, _ := addressed(t, 10)
	_, h, _ := elsewhere.ask(t, "GET", elsewhere.path("manifest"), "Authorization", "Bearer "+elsewhere.token)
	for name, tt := range map[string]struct {
		signer      share.Signer
		proof       share.Proof
		what, bytes string
	}{
		"a second time":            {hers, once, "pieces", "bytes=0-9"},
		"by another key":           {another, fresh(func(*share.Proof) {}), "pieces", "bytes=0-9"},
		"by the author":            {w.signer, fresh(func(*share.Proof) {}), "pieces", "bytes=0-9"},
		"meant for another server": {hers, fresh(func(p *share.Proof) { p.Base = "https://evil.example.com" }), "pieces", "bytes=0-9"},
		"for another share":        {hers, fresh(func(p *share.Proof) { p.Share = "0123456789abcdef" }), "pieces", "bytes=0-9"},
		"for another token":        {hers, fresh(func(p *share.Proof) { p.Token[0]++ }), "pieces", "bytes=0-9"},
		"for another range":        {hers, fresh(func(*share.Proof) {}), "pieces", "bytes=0-10"},
		"for something else":       {hers, fresh(func(*share.Proof) {}), "manifest", "bytes=0-9"},
		"with no challenge":        {hers, right, "pieces", "bytes=0-9"},
		"with a made-up one":       {hers, fresh(func(p *share.Proof) { p.Challenge = "A" + p.Challenge[1:] + "x" }), "pieces", "bytes=0-9"},
		"with another server's":    {hers, fresh(func(p *share.Proof) { p.Challenge = h.Get("Kedge-Challenge") }), "pieces", "bytes=0-9"},
	} {
		if status := ask(tt.signer, tt.proof, tt.what, tt.bytes); status != 401 {
			t.Errorf("%s: %d", name, status)
		}
	}
	for _, what := range []string{"view", "content?path=nb.ipynb"} {
		if status, _, _ := w.ask(t, "GET", w.path(what), bearer...); status != 401 {
			t.Errorf("%s without a proof: %d", what, status)
		}
	}
	// Another share does not show it either.
	other, err := w.registry.Get(w.open.ID)
	if err != nil {
		t.Fatal(err)
	}
	loose, err := w.signer.Token(other.Capability())
	if err != nil {
		t.Fatal(err)
	}
	diff := "/api/v1/shares/" + other.ID + "/diff?with="
	if status, _, body := w.ask(t, "GET", diff+w.one.ID, "Authorization", "Bearer "+loose, "Kedge-With", w.token); status != 401 {
		t.Error("compared with a share for everybody", status, body)
	}
	if status, _, body := w.ask(t, "GET", diff+other.ID, "Authorization", "Bearer "+loose, "Kedge-With", loose); status != 200 {
		t.Error("compared with itself", status, body)
	}
	// None of that spends the challenge of somebody else, and time does.
	c := newChallenges()
	now := time.Now()
	if one := c.next("a", now); c.spend("b", one, now) == nil || c.spend("a", one, now.Add(challengeTime+time.Second)) == nil || c.spend("a", one, now.Add(time.Second)) != nil || c.spend("a", one, now) == nil {
		t.Error("a challenge is good at another time, or for another share")
	}
}
