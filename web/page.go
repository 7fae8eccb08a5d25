package web

import (
	"embed"
	"io/fs"
)

//go:embed page
var page embed.FS

// Page is what lies behind a link: page.html and what it loads.
func Page() fs.FS {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the name is valid
	}
	return files
}
