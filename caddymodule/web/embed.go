// Package web serves the hosted pages: signing in with a phone, and the
// owner's devices. They work without a script, which only makes them smoother,
// and carry a strict policy. Beside them it serves the browser client.
package web

import "embed"

// files are the pages, and the client as `npm run build` leaves it: the server
// is built without npm.
//
//go:embed pages dist/client.js dist/client.iife.js dist/work.js
var files embed.FS
