package main

import (
	"context"
	"time"

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
	secrets, err := share.Secrets(ctx, h.cache.store, m)
	return &publication{home: h, m: m, left: left, secrets: secrets}, err
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
