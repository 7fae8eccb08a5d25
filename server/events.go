package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/gorilla/websocket"

	"kedge/share"
)

const (
	lookEvery = time.Second // at whether a share is still open
	tokenTime = 10 * time.Second
)

// event is what a watcher is told.
type event struct {
	Event string `json:"event"` // open, revoked, expired, refused or stopping
}

// events tells over a WebSocket when a share ends. Its token is the first
// message: a browser can give no header, and addresses are written to logs.
func (s *Server) events(w http.ResponseWriter, q *http.Request) {
	upgrader := websocket.Upgrader{HandshakeTimeout: tokenTime, ReadBufferSize: 1024, WriteBufferSize: 1024,
		CheckOrigin: func(*http.Request) bool { return true }} // guarded has compared it
	conn, err := upgrader.Upgrade(w, q, nil)
	if err != nil {
		return // it has been answered
	}
	defer conn.Close()
	conn.SetReadLimit(4096)
	_ = conn.SetReadDeadline(time.Now().Add(tokenTime)) // fails on a closed connection only, as the read does
	_, token, err := conn.ReadMessage()
	if err != nil {
		return
	}
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		_ = conn.SetReadDeadline(time.Time{})
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	}()
	s.watch(conn, chi.URLParam(q, "share"), string(token), gone)
	conn.Close()
	<-gone
}

func (s *Server) watch(conn *websocket.Conn, id, token string, gone <-chan struct{}) {
	tell := func(what string) bool {
		_ = conn.SetWriteDeadline(time.Now().Add(tokenTime))
		return conn.WriteJSON(event{what}) == nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for told := false; ; {
		_, err := s.admit(id, token)
		switch {
		case errors.Is(err, errRevoked):
			tell("revoked")
			return
		case errors.Is(err, share.ErrExpired):
			tell("expired")
			return
		case err != nil:
			tell("refused")
			return
		case !told:
			if told = true; !tell("open") {
				return
			}
		}
		select {
		case <-gone:
			return
		case <-s.closing:
			tell("stopping")
			return
		case <-tick.C:
		}
	}
}
