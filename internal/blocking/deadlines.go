package blocking

// deadlines is a heap of waits, ordered by deadline.
type deadlines []deadline

type deadline struct {
	at int64
	w  *Wait
}

// set gives w a deadline, or moves it.
func (d *deadlines) set(w *Wait, at int64) {
	d.remove(w)
	w.deadline = at
	*d = append(*d, deadline{at, w})
	w.heapAt = int32(len(*d))
	d.up(len(*d) - 1)
}

// remove removes the deadline of w, if it has one.
func (d *deadlines) remove(w *Wait) {
	if w.heapAt == 0 {
		return
	}
	i, last := int(w.heapAt-1), len(*d)-1
	d.swap(i, last)
	(*d)[last] = deadline{}
	*d = (*d)[:last]
	w.heapAt, w.deadline = 0, 0
	if i < last {
		d.down(i)
		d.up(i)
	}
}

// next returns the earliest deadline; 0: none.
func (d deadlines) next() int64 {
	if len(d) == 0 {
		return 0
	}
	return d[0].at
}

// due returns the wait with the earliest deadline if that has passed.
func (d deadlines) due(now int64) *Wait {
	if len(d) == 0 || d[0].at > now {
		return nil
	}
	return d[0].w
}

func (d deadlines) swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].w.heapAt, d[j].w.heapAt = int32(i+1), int32(j+1)
}

func (d deadlines) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if d[parent].at <= d[i].at {
			return
		}
		d.swap(i, parent)
		i = parent
	}
}

func (d deadlines) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(d) {
			return
		}
		if child+1 < len(d) && d[child+1].at < d[child].at {
			child++
		}
		if d[i].at <= d[child].at {
			return
		}
		d.swap(i, child)
		i = child
	}
}
