package main

import (
	"context"
	"time"

	"kedge/notebook"
	"kedge/share"
	"kedge/snapshotter"
)

// publication is a snapshot as it would be shared: what kedge share and
// JupyterLab show before they ask, and publish once they are told to.
type publication struct {
	home    *home
	m       *share.Manifest
	left    []share.Left
	secrets []share.Secret
	reader  *share.Key // who may open a link; nil: whoever has it
}

// consider says what sharing a snapshot would publish. Nothing leaves the machine.
func consider(ctx context.Context, h *home, snapshot snapshotter.Snapshot, noState bool) (*publication, error) {
	m, left, err := share.Collect(ctx, share.Offer{Store: h.cache.store, Snapshot: snapshot, NoState: noState, Author: authorName(), Created: time.Now(), Env: h})
	if err != nil {
		return nil, err
	}
	m.Packages = packagesOf(ctx, h, snapshot, m.Environment)
	secrets, err := share.Secrets(ctx, h.cache.store, m)
	return &publication{home: h, m: m, left: left, secrets: secrets}, err
}

// packagesOf says what is installed for import names, as far as the notebook's
// environment is there and has them in the same versions.
func packagesOf(ctx context.Context, h *home, snapshot snapshotter.Snapshot, environment map[string]string) map[string]string {
	data, err := h.cache.store.Blob(ctx, snapshot.Document)
	if err != nil {
		return nil
	}
	doc, err := notebook.Parse(data)
	if err != nil {
		return nil
	}
	e, err := findEnvironment(ctx, h.cache.store, doc, "", "")
	if err != nil || e.foreign != nil {
		return nil
	}
	packages := map[string]string{}
	for name, version := range environment {
		if of := e.Packages[name]; of != "" && e.Modules[name] == version {
			packages[name] = of
		}
	}
	return packages
}

// until sets when what is published ends; zero: never.
func (p *publication) until(expires time.Time) {
	if p.m.Expires = expires; !expires.IsZero() {
		p.m.Expires = expires.UTC()
	}
}

// published is a link that was made.
type published struct {
	share.Link
	one     share.Shared
	started bool // a server, for it
}

// link registers the share and makes the link to it.
func (p *publication) link(ctx context.Context) (published, error) {
	sealed, err := p.home.signer.Seal(p.m)
	if err != nil {
		return published{}, err
	}
	dir := p.home.cache.dir
	at, started, err := ensureServer(ctx, dir)
	if err != nil {
		return published{}, err
	}
	one, err := registryOf(dir).Add(ctx, p.home.cache.store, sealed, p.m, p.reader)
	if err != nil {
		return published{}, err
	}
	token, err := p.home.signer.Token(one.Capability())
	return published{share.Link{Base: at.Base, Share: one.ID, Token: token}, one, started}, err
}
