package web

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
)

// colour is an sRGB colour.
type colour [3]uint8

// The grounds that text in the accent colour stands on; style.css has the same.
var (
	white     = colour{255, 255, 255}
	black     = colour{}
	lightCard = white
	darkCard  = colour{0x1e, 0x21, 0x27}
	standing  = colour{0x1a, 0x5f, 0xb4} // the accent without a brand
)

// legible is the contrast that text needs (WCAG 2.2, 1.4.3).
const legible = 4.5

// parseColour reads #1a5fb4, #15b, and both without the #: in a Caddyfile that
// sign begins a comment.
func parseColour(text string) (c colour, err error) {
	digits := strings.TrimPrefix(text, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(c) {
		return c, fmt.Errorf("accent %q: write a colour as 1a5fb4", text)
	}
	return colour(b), nil
}

func (c colour) String() string { return "#" + hex.EncodeToString(c[:]) }

// luminance is WCAG's relative luminance.
func (c colour) luminance() float64 {
	var linear [3]float64
	for i, v := range c {
		s := float64(v) / 255
		if linear[i] = s / 12.92; s > 0.04045 {
			linear[i] = math.Pow((s+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// on is the colour of text on c. One of the two is always legible: the worse
// of them gives 4.58 at its best.
func (c colour) on() colour {
	if contrast(c, white) >= contrast(c, black) {
		return white
	}
	return black
}

// legibleOn is c, mixed with as little of the other colour as makes it legible
// on the ground.
func (c colour) legibleOn(ground, with colour) colour {
	const steps = 50
	mixed := c
	for i := 1; contrast(mixed, ground) < legible && i <= steps; i++ {
		for k := range mixed {
			mixed[k] = uint8((int(c[k])*(steps-i) + int(with[k])*i) / steps)
		}
	}
	return mixed
}

// style is the part of the style sheet that a brand's accent decides: buttons
// have it as it is, and text a shade that can be read.
func (c colour) style() string {
	return fmt.Sprintf("\n:root { --button: %v; --on-button: %v; --accent: %v; }\n"+
		"@media (prefers-color-scheme: dark) { :root { --accent: %v; } }\n",
		c, c.on(), c.legibleOn(lightCard, black), c.legibleOn(darkCard, white))
}
