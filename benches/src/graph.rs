//! The graphs that are measured.

/// For each task, the tasks directly before it; these come earlier.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Names the shape.
    pub name: &'static str,
    /// For each task, the tasks directly before it.
    pub upstream: Vec<Vec<u32>>,
}

impl Graph {
    /// One task after the other.
    pub fn chain(count: u32) -> Self {
        let upstream = (0..count).map(|i| i.checked_sub(1).into_iter().collect()).collect();
        Self { name: "chain", upstream }
    }

    /// One task, then many at once, then one that waits for all.
    pub fn fan(count: u32) -> Self {
        let middle = count.saturating_sub(2).max(1);
        let mut upstream = vec![Vec::new()];
        upstream.extend((0..middle).map(|_| vec![0]));
        upstream.push((1..=middle).collect());
        Self { name: "fan", upstream }
    }

    /// Layers of 100, each task after three of the layer before.
    pub fn layers(count: u32) -> Self {
        const WIDTH: u32 = 100;
        let width = WIDTH.min(count);
        let before = |i: u32| {
            let (layer, place) = (i / width, i % width);
            let parents =
                |layer: u32| [place, (place + 1) % width, (place + 7) % width].map(|p| (layer - 1) * width + p);
            let mut parents = if layer == 0 { Vec::new() } else { parents(layer).to_vec() };
            parents.sort_unstable();
            parents.dedup();
            parents
        };
        Self { name: "layers", upstream: (0..count).map(before).collect() }
    }

    /// Independent tasks.
    pub fn flat(count: u32) -> Self {
        Self { name: "flat", upstream: vec![Vec::new(); count as usize] }
    }

    /// Many chains of three.
    pub fn chains(count: u32) -> Self {
        let upstream = (0..count * 3).map(|i| if i % 3 == 0 { Vec::new() } else { vec![i - 1] }).collect();
        Self { name: "runs of 3", upstream }
    }

    /// How many tasks.
    pub fn len(&self) -> usize {
        self.upstream.len()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.upstream.is_empty()
    }

    /// For each task, the tasks directly after it.
    pub fn downstream(&self) -> Vec<Vec<u32>> {
        let mut downstream = vec![Vec::new(); self.len()];
        for (i, upstream) in (0u32..).zip(&self.upstream) {
            for &up in upstream {
                downstream[up as usize].push(i);
            }
        }
        downstream
    }
}
