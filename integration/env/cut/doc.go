// Package cut is a TCP proxy that gets in the way: it cuts, holds, delays and throttles what two ends say to each other.
//
//	proxy, err := cut.Start(server)
//	...
//	proxy.Shape(cut.Shape{Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond})
//	proxy.HoldAfter(cut.Down, 512) // what the server says after the next 512 bytes waits
//	proxy.Cut()                    // and never arrives
//
// It does not reorder the bytes of a connection: TCP promises their order, so that no network does it either, and neither
// end could tell it from corruption. What networks do reorder is what travels by different connections, or in different
// directions, and Shape.Jitter does that: of two requests on two connections the second may arrive, or be answered, first.
// The streams of one HTTP/2 connection share its order, and over TLS nobody in between can tell them apart.
package cut
