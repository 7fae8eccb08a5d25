// Package web embeds what browsers load.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:labextension/dist
var built embed.FS

// Labextension is the prebuilt extension of JupyterLab and Notebook 7, as Jupyter finds it in a folder of labextensions.
// The file sources.sha256 says what it was built of.
func Labextension() fs.FS {
	dist, err := fs.Sub(built, "labextension/dist")
	if err != nil {
		panic(err) // the name is valid
	}
	return dist
}
