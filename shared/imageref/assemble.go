package imageref

// assemble makes images of parts that only have their markers in common: parts of
// one name follow each other, and a part that is there already begins another
// image.
func (f *finder) assemble(parts []target) {
	names := repositories(parts)
	open := map[Marker]*assembly{}
	var all []*assembly
	for _, t := range parts {
		if t.Part == Name {
			continue
		}
		key := t.Marker
		key.Part = Whole
		a := open[key]
		if a == nil || t.Part == Whole || a.has[t.Part] {
			f.images++
			a = &assembly{group: f.images, has: map[Part]bool{}}
			all = append(all, a)
			open[key] = a
		}
		a.has[t.Part] = true
		a.parts = append(a.parts, t)
	}
	for _, a := range all {
		a.finish(f, names)
	}
}

// repositories are those that values marked as names give, by the marked image;
// the zero Reference where they disagree.
func repositories(parts []target) map[string]Reference {
	names := map[string]Reference{}
	for _, t := range parts {
		if t.Part != Name {
			continue
		}
		ref := imageOf(t.Value)
		if before, found := names[t.Marker.Image]; found && before.Name() != ref.Name() {
			ref = Reference{}
		}
		names[t.Marker.Image] = ref
	}
	return names
}

// assembly is an image put together of marked parts.
type assembly struct {
	group int
	has   map[Part]bool
	parts []target
}

func (a *assembly) finish(f *finder, names map[string]Reference) {
	image := names[a.parts[0].Marker.Image]
	if ref, ok := a.parts[0].Marker.Repository(); ok {
		image = ref
	}
	for _, t := range a.parts {
		switch t.Part {
		case Whole:
			image = imageOf(t.Value)
		case Tag:
			image = joinTag(image, t.Value, a.has[Digest])
		case Digest, Hex:
			image.Digest = t.Value
		case Name:
		}
	}
	for _, t := range a.parts {
		t.Image, t.Group, t.ByMarker = image, a.group, true
		t.Joined = t.Part == Tag && !a.has[Digest]
		if t.Part == Digest && !a.has[Tag] && t.Locked == "" {
			t.Locked = "no value is marked as its tag, which would say what version this is"
		}
		f.note(t)
	}
}
