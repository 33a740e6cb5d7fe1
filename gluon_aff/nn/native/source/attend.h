// Fusion by MS-CAM's weight in few passes over the maps, forward and backward:
//
//   w = sigmoid(L(z) + g(z)),  out = w (a_x x + a_r r) + b_x x + b_r r,  z = x + r, x, or a map of its own.
//
// L and g are conv1x1 - norm - relu - conv1x1 - norm, g on the means over height and width. Of the local branch only
// maps of the bottleneck's width are ever in memory:
//
// - The second norm's statistics follow from mean and covariance of the bottleneck's activations h: the mean of
//   W2 h + b2 is W2 mean(h) + b2, its variance the diagonal of W2 cov(h) W2^T.
// - Its gradient is linear in that of its output, so W2^T passes it on before the sums that it needs are known, and
//   what belongs to the sums follows on the bottleneck's width.
//
// Training takes three passes forward and three backward, inference one.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "branch.h"
#include "kernels.h"

namespace gluon_aff {

struct Mix {
  float weighted_x, weighted_residual, plain_x, plain_residual;  // a_x, a_r, b_x, b_r
  bool context_x, context_residual;                              // which of them make up z; neither: a map of its own
};

struct Sizes {
  int64_t images, channels, middle, positions;  // positions: height times width
  int64_t tall, low, width;                     // channels and middle in whole tiles; middle in whole vectors
  int64_t run, runs, units, groups;             // a unit of work is a run of positions of one image
  Sizes(int64_t n, int64_t c, int64_t m, int64_t hw) : images(n), channels(c), middle(m), positions(hw) {
    tall = round_up(c, TILE), low = round_up(m, TILE), width = round_up(m, 16);
    run = std::min<int64_t>(std::max<int64_t>(16384 / c / PANEL * PANEL, PANEL), 1024);
    run = std::min(run, round_up(hw, PANEL));
    runs = (hw + run - 1) / run;
    units = n * runs;
    const int64_t affordable = std::max<int64_t>(8, (int64_t{1} << 21) / matrix());
    groups = std::min<int64_t>(units, std::min<int64_t>(32, affordable));
  }
  int64_t matrix() const { return tall * width; }
  int64_t kept() const { return units * low * run; }
  int64_t saved() const { return images * channels + 3 * middle + middle * middle + 2 * channels; }
  int64_t flat() const { return 2 * (2 * channels * middle + 3 * middle + 3 * channels); }
};

// What the forward pass hands to the backward pass: means over the image and the statistics of the two local norms.
struct Saved {
  float *means, *mean1, *variance1, *mean_h, *covariance, *mean2, *variance2;
  Saved(float* at, const Sizes& s)
      : means(at),
        mean1(means + s.images * s.channels),
        variance1(mean1 + s.middle),
        mean_h(variance1 + s.middle),
        covariance(mean_h + s.middle),
        mean2(covariance + s.middle * s.middle),
        variance2(mean2 + s.channels) {}
};

// Memory that MXNet lends for one call, handed out piece by piece; without a base, only counted.
struct Scratch {
  float* base;
  int64_t used;
  float* take(int64_t count) {
    float* at = base ? base + used : nullptr;
    used += round_up(count, 16);
    return at;
  }
};

// What each pass leaves for the next: by unit, by group, by image.
struct TrainRoom {
  float *kept, *sums, *firsts, *parts, *squares, *offsets;
  TrainRoom(const Sizes& s, Scratch* scratch)
      : kept(scratch->take(s.kept())),
        sums(scratch->take(s.units * s.channels)),
        firsts(scratch->take(s.units * 2 * s.middle)),
        parts(scratch->take(s.units * s.middle)),
        squares(scratch->take(s.groups * s.low * s.width)),
        offsets(scratch->take(s.images * s.channels)) {}
};

struct BackwardRoom {
  float *kept, *passed, *sums, *matrices, *seconds, *biases, *offsets, *image_sums, *from_means;
  BackwardRoom(const Sizes& s, Scratch* scratch)
      : kept(scratch->take(s.kept())),
        passed(scratch->take(s.kept())),
        sums(scratch->take(s.units * s.channels)),
        matrices(scratch->take(s.groups * s.matrix())),
        seconds(scratch->take(s.units * 2 * s.middle)),
        biases(scratch->take(s.units * s.middle)),
        offsets(scratch->take(s.images * s.channels)),
        image_sums(scratch->take(s.images * s.channels)),
        from_means(scratch->take(s.images * s.channels)) {}
};

// A run of positions of one image.
struct Unit {
  int64_t image, first, count, panels;
  Unit(const Sizes& s, int64_t number) {
    image = number / s.runs;
    first = number % s.runs * s.run;
    count = std::min(s.run, s.positions - first);
    panels = (count + PANEL - 1) / PANEL;
  }
  int64_t valid(int64_t panel) const { return std::min<int64_t>(PANEL, count - panel * PANEL); }
};

// A map's rows, PANEL positions at a time; positions behind the image's end read as zero and are not written.
class Map {
 public:
  Map(float* data, const Sizes& s, const Unit& u, int64_t panel)
      : data_(data + u.image * s.channels * s.positions + u.first + panel * PANEL), step_(s.positions), valid_(u.valid(panel)) {}
  const float* read(int64_t row, float* room) const {
    const float* from = data_ + row * step_;
    if (valid_ == PANEL) return from;
    for (int64_t p = 0; p < PANEL; ++p) room[p] = p < valid_ ? from[p] : 0.0f;
    return room;
  }
  float* target(int64_t row, float* room) const { return valid_ == PANEL ? data_ + row * step_ : room; }
  void written(int64_t row, const float* room) const {
    if (valid_ != PANEL) std::memcpy(data_ + row * step_, room, valid_ * sizeof(float));
  }

 private:
  float* data_;
  int64_t step_, valid_;
};

class Attend {
 public:
  Attend(const Sizes& sizes, const Mix& mix, const Norm& norm, const float* flat)
      : s(sizes), mix(mix), norm(norm), local(flat, s.channels, s.middle), global(local.end, s.channels, s.middle) {}

  // x, residual and (where the mix asks for one) context are (images, channels, positions).
  void maps(float* x, float* residual, float* context) { x_ = x, residual_ = residual, context_ = context; }

  void infer(const Running& run_local, const Running& run_global, float* out, float* saved) {
    Saved keep(saved, s);
    std::memset(saved, 0, s.saved() * sizeof(float));
    statistics_of_running(run_local);
    prepare();
    const auto pool = [&](int64_t n, int64_t k, float* sums, Room* room) {
      pool_and_load(Unit(s, n * s.runs + k), room->z.data(), sums + k * s.channels);
    };
    const auto attention = [&](int64_t n, const float* sums, std::vector<float>* offsets) {
      float* means = keep.means + n * s.channels;
      mean_of_runs(sums, means);
      GlobalBranch(global, s.channels, s.middle, 1).forward(means, run_global, norm, offsets->data());
      for (int64_t c = 0; c < s.channels; ++c) (*offsets)[c] += offset2_[c];
    };
    const auto fuse = [&](int64_t n, int64_t k, const std::vector<float>& offsets, Room* room) {
      const Unit u(s, n * s.runs + k);
      fetch(x_, u), fetch(residual_, u);
      if (s.runs > 1) load(u, room->z.data());
      for (int64_t q = 0; q < u.panels; ++q) {
        bottleneck(room->z.data() + q * s.tall * PANEL, room->a.data());
        activate(room->a.data(), PANEL, room->h.data());
        mixed(u, q, room->h.data(), offsets.data(), out);
      }
    };
    if (s.images > 1) {
#pragma omp parallel
      {
        Room room(s);
        std::vector<float> offsets(s.channels), sums(s.runs * s.channels);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < s.images; ++n) {
          for (int64_t k = 0; k < s.runs; ++k) pool(n, k, sums.data(), &room);
          attention(n, sums.data(), &offsets);
          for (int64_t k = 0; k < s.runs; ++k) fuse(n, k, offsets, &room);
        }
      }
    } else {
      std::vector<float> offsets(s.channels), sums(s.runs * s.channels);
#pragma omp parallel
      {
        Room room(s);
#pragma omp for schedule(static)
        for (int64_t k = 0; k < s.runs; ++k) pool(0, k, sums.data(), &room);
#pragma omp single
        attention(0, sums.data(), &offsets);
#pragma omp for schedule(static)
        for (int64_t k = 0; k < s.runs; ++k) {
          load(Unit(s, k), room.z.data());
          fuse(0, k, offsets, &room);
        }
      }
    }
  }

  void train(const Running& run_local, const Running& run_global, const TrainRoom& lent, float* out, float* saved) {
    Saved keep(saved, s);
    prepare_first();
    each_group([&](int64_t, int64_t unit, Room& room) {
      const Unit u(s, unit);
      pool_and_load(u, room.z.data(), lent.sums + unit * s.channels);
      float* a = lent.kept + unit * s.low * s.run;
      for (int64_t q = 0; q < u.panels; ++q) bottleneck(room.z.data() + q * s.tall * PANEL, a + q * s.low * PANEL);
      spread(u, a, lent.firsts + unit * 2 * s.middle);
    });
    for (int64_t n = 0; n < s.images; ++n)
      mean_of_runs(lent.sums + n * s.runs * s.channels, keep.means + n * s.channels);
    merge_first(lent.firsts, keep);
    statistics_of_batch(keep, false);
    second_moments(lent, keep);
    statistics_of_batch(keep, true);
    prepare();
    GlobalBranch branch(global, s.channels, s.middle, s.images);
    branch.forward(keep.means, run_global, norm, lent.offsets);
    add_offsets(lent.offsets);
    each_group([&](int64_t, int64_t unit, Room& room) {
      const Unit u(s, unit);
      fetch(x_, u), fetch(residual_, u);
      for (int64_t q = 0; q < u.panels; ++q) {
        activate(lent.kept + unit * s.low * s.run + q * s.low * PANEL, PANEL, room.h.data());
        mixed(u, q, room.h.data(), lent.offsets + u.image * s.channels, out);
      }
    });
    branch.update_running(run_global, norm);
    update(run_local.mean1, first_.mean, norm.momentum);
    update(run_local.variance1, first_.variance, norm.momentum);
    update(run_local.mean2, second_.mean, norm.momentum);
    update(run_local.variance2, second_.variance, norm.momentum);
  }

  // Gradients of x, residual, context (null where there is none of its own) and of the flat parameters.
  void backward(const Running& run_local, const Running& run_global, const BackwardRoom& lent, float* saved,
                float* out_gradient, float* dx, float* dresidual, float* dcontext, float* dflat) {
    Saved keep(saved, s);
    Weights<float> dlocal(dflat, s.channels, s.middle), dglobal(dlocal.end, s.channels, s.middle);
    if (norm.batch)
      statistics_of_batch(keep, false), statistics_of_batch(keep, true);
    else
      statistics_of_running(run_local);
    prepare();
    GlobalBranch branch(global, s.channels, s.middle, s.images);
    branch.forward(keep.means, run_global, norm, lent.offsets);
    add_offsets(lent.offsets);

    // First pass: the gradient u of what goes into the sigmoid; its sums, W2^T of it, its product with h.
    const int64_t matrix = s.matrix();
    clear(lent.matrices, s.groups * matrix);
    std::vector<float> back(packed_size(s.middle, s.channels));
    pack(back.data(), local.w2, s.middle, s.channels, 1, s.middle, scale2_.data(), 0, 1);
    each_group([&](int64_t group, int64_t unit, Room& room) {
      const Unit u(s, unit);
      float *a = lent.kept + unit * s.low * s.run, *e = lent.passed + unit * s.low * s.run;
      float* sum = lent.sums + unit * s.channels;
      std::fill(sum, sum + s.channels, 0.0f);
      fetch(out_gradient, u), load(u, room.z.data());
      for (int64_t q = 0; q < u.panels; ++q) {
        bottleneck(room.z.data() + q * s.tall * PANEL, a + q * s.low * PANEL);
        activate(a + q * s.low * PANEL, PANEL, room.h.data());
        logit_gradient(u, q, room.h.data(), lent.offsets + u.image * s.channels, out_gradient, room.d.data(), sum);
        apply(back.data(), s.middle, s.channels, room.d.data(), e + q * s.low * PANEL);
        turn(room.h.data(), s.middle, s.width, room.turned.data());
        outer(room.d.data(), s.channels, room.turned.data(), s.width, lent.matrices + group * matrix);
      }
    });
    add_groups(lent.matrices, matrix);
    std::vector<double> total(s.channels, 0.0);
    for (int64_t n = 0; n < s.images; ++n)
      for (int64_t c = 0; c < s.channels; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < s.runs; ++k) sum += lent.sums[(n * s.runs + k) * s.channels + c];
        lent.image_sums[n * s.channels + c] = static_cast<float>(sum);
        total[c] += sum;
      }
    branch.backward(lent.image_sums, norm, lent.from_means, dglobal);
    second_norm(lent.matrices, total, keep, dlocal);

    // Second pass, on the bottleneck's width: the gradient behind the first norm, and its sums.
    each_group([&](int64_t, int64_t unit, Room& room) {
      const Unit u(s, unit);
      float* sum = lent.seconds + unit * 2 * s.middle;
      std::fill(sum, sum + 2 * s.middle, 0.0f);
      for (int64_t q = 0; q < u.panels; ++q) {
        const int64_t at = unit * s.low * s.run + q * s.low * PANEL;
        behind_first(u.valid(q), lent.kept + at, lent.passed + at, room, sum);
      }
    });
    first_norm(lent.seconds, dlocal);

    // Third pass: through the first convolution, to the inputs.
    clear(lent.matrices, s.groups * matrix);
    std::vector<float> to_z(packed_size(s.channels, s.middle));
    pack(to_z.data(), local.w1, s.channels, s.middle, 1, s.channels);
    each_group([&](int64_t group, int64_t unit, Room& room) {
      const Unit u(s, unit);
      float* bias = lent.biases + unit * s.middle;
      std::fill(bias, bias + s.middle, 0.0f);
      fetch(out_gradient, u), load(u, room.z.data());
      for (int64_t q = 0; q < u.panels; ++q) {
        const int64_t at = unit * s.low * s.run + q * s.low * PANEL;
        activate(lent.kept + at, PANEL, room.h.data());
        through_first(u.valid(q), lent.kept + at, lent.passed + at, bias);
        turn(lent.passed + at, s.middle, s.width, room.turned.data());
        outer(room.z.data() + q * s.tall * PANEL, s.channels, room.turned.data(), s.width,
              lent.matrices + group * matrix);
        input_gradient(u, q, room.h.data(), lent.passed + at, to_z.data(), lent.offsets + u.image * s.channels,
                       lent.from_means + u.image * s.channels, out_gradient, dx, dresidual, dcontext);
      }
    });
    add_groups(lent.matrices, matrix);
    for (int64_t m = 0; m < s.middle; ++m) {
      for (int64_t c = 0; c < s.channels; ++c) dlocal.w1[m * s.channels + c] = lent.matrices[c * s.width + m];
      double sum = 0;
      for (int64_t unit = 0; unit < s.units; ++unit) sum += lent.biases[unit * s.middle + m];
      dlocal.b1[m] = static_cast<float>(sum);
    }
  }

 private:
  // A thread's own memory.
  struct Room {
    std::vector<float> z, a, h, d, turned;
    explicit Room(const Sizes& s)
        : z(s.tall * s.run), a(s.low * PANEL), h(s.low * PANEL), d(s.tall * PANEL), turned(PANEL * s.width) {}
  };

  double count() const { return static_cast<double>(s.images) * s.positions; }

  // work(group, unit, room) for every unit; a group's units come one after the other.
  template <class Work>
  void each_group(Work work) {
#pragma omp parallel
    {
      Room room(s);
#pragma omp for schedule(static)
      for (int64_t group = 0; group < s.groups; ++group)
        for (int64_t unit = group * s.units / s.groups; unit < (group + 1) * s.units / s.groups; ++unit)
          work(group, unit, room);
    }
  }

  static void clear(float* values, int64_t count) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; ++i) values[i] = 0.0f;
  }

  void add_groups(float* all, int64_t matrix) const {
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < s.tall; ++block)
      for (int64_t group = 1; group < s.groups; ++group) {
        float *to = all + block * s.width, *from = all + group * matrix + block * s.width;
#pragma omp simd
        for (int64_t k = 0; k < s.width; ++k) to[k] += from[k];
      }
  }

  void prepare_first() {
    packed1_.resize(packed_size(s.middle, s.channels));
    pack(packed1_.data(), local.w1, s.middle, s.channels, s.channels, 1);
  }

  // The second norm folded into its convolution, and h's shift into the offset.
  void prepare() {
    prepare_first();
    scale2_.resize(s.channels), offset2_.resize(s.channels);
    for (int64_t c = 0; c < s.channels; ++c) {
      const double scale = local.gamma2[c] * second_.inverse[c];
      double offset = (local.b2[c] - second_.mean[c]) * scale + local.beta2[c];
      for (int64_t m = 0; m < s.middle; ++m) offset += scale * local.w2[c * s.middle + m] * shift_[m];
      scale2_[c] = static_cast<float>(scale), offset2_[c] = static_cast<float>(offset);
    }
    packed2_.resize(packed_size(s.channels, s.middle));
    pack(packed2_.data(), local.w2, s.channels, s.middle, s.middle, 1, scale2_.data(), 1, 0);
  }

  // The first norm as scale and offset. h is kept less its value at the norm's mean, so that its sums are small.
  void prepare_activation() {
    scale1_.resize(s.middle), offset1_.resize(s.middle), shift_.resize(s.middle);
    for (int64_t m = 0; m < s.middle; ++m) {
      const double scale = local.gamma1[m] * first_.inverse[m];
      scale1_[m] = static_cast<float>(scale);
      offset1_[m] = static_cast<float>(local.beta1[m] - first_.mean[m] * scale);
      shift_[m] = std::max(local.beta1[m], 0.0f);
    }
  }

  void statistics_of_running(const Running& running) {
    first_ = Statistics(s.middle), second_ = Statistics(s.channels);
    first_.of_running(running.mean1, running.variance1), first_.invert(norm.eps);
    second_.of_running(running.mean2, running.variance2), second_.invert(norm.eps);
    prepare_activation();
  }

  void statistics_of_batch(const Saved& keep, bool second) {
    if (second) {
      second_ = Statistics(s.channels);
      second_.of_running(keep.mean2, keep.variance2), second_.invert(norm.eps);
    } else {
      first_ = Statistics(s.middle);
      first_.of_running(keep.mean1, keep.variance1), first_.invert(norm.eps);
      prepare_activation();
    }
  }

  void add_offsets(float* logits) const {
    for (int64_t n = 0; n < s.images; ++n)
      for (int64_t c = 0; c < s.channels; ++c) logits[n * s.channels + c] += offset2_[c];
  }

  void fetch(const float* map, const Unit& u) const {
    const float* from = map + u.image * s.channels * s.positions + u.first;
    if (u.count == s.positions) return;  // all in one piece: the processor sees it coming
    for (int64_t c = 0; c < s.channels; ++c)
      for (int64_t p = 0; p < u.count; p += 16) __builtin_prefetch(from + c * s.positions + p);
  }

  // z of a unit, panel by panel, zeros behind its end.
  void load(const Unit& u, float* z) const {
    const int64_t start = u.image * s.channels * s.positions + u.first;
    const bool both = mix.context_x && mix.context_residual;
    const float* one = (mix.context_x ? x_ : mix.context_residual ? residual_ : context_) + start;
    const float* other = residual_ + start;
    for (int64_t c = 0; c < s.channels; ++c)
      for (int64_t q = 0; q < u.panels; ++q) {
        float* to = z + (q * s.tall + c) * PANEL;
        const int64_t at = c * s.positions + q * PANEL, valid = u.valid(q);
        const float *from = one + at, *more = other + at;
        if (valid == PANEL && both) {
#pragma omp simd
          for (int p = 0; p < PANEL; ++p) to[p] = from[p] + more[p];
        } else if (valid == PANEL) {
          std::memcpy(to, from, PANEL * sizeof(float));
        } else {
          for (int64_t p = 0; p < PANEL; ++p) to[p] = p < valid ? (both ? from[p] + more[p] : from[p]) : 0.0f;
        }
      }
  }

  void pool_and_load(const Unit& u, float* z, float* sums) const {
    load(u, z);
    for (int64_t c = 0; c < s.channels; ++c) {
      float sum = 0;
      for (int64_t q = 0; q < u.panels; ++q) sum += sum_of(z + (q * s.tall + c) * PANEL);
      sums[c] = sum;
    }
  }

  void mean_of_runs(const float* sums, float* means) const {
    for (int64_t c = 0; c < s.channels; ++c) {
      double sum = 0;
      for (int64_t k = 0; k < s.runs; ++k) sum += sums[k * s.channels + c];
      means[c] = static_cast<float>(sum / s.positions);
    }
  }

  // a = W1 z + b1.
  void bottleneck(const float* z, float* a) const {
    apply(packed1_.data(), s.middle, s.channels, z, a);
    for (int64_t m = 0; m < s.middle; ++m)
      for (int p = 0; p < PANEL; ++p) a[m * PANEL + p] += local.b1[m];
  }

  // h less its shift; zero at positions from `valid` on.
  void activate(const float* a, int64_t valid, float* h) const {
    for (int64_t m = 0; m < s.middle; ++m) {
      const float scale = scale1_[m], offset = offset1_[m], shift = shift_[m];
#pragma omp simd
      for (int p = 0; p < PANEL; ++p) {
        const float value = scale * a[m * PANEL + p] + offset;
        h[m * PANEL + p] = (value < 0.0f ? 0.0f : value) - shift;
      }
      for (int64_t p = valid; p < PANEL; ++p) h[m * PANEL + p] = 0.0f;
    }
  }

  // Mean and sum of squared deviations of a unit's rows.
  void spread(const Unit& u, const float* a, float* means_and_squares) const {
    for (int64_t m = 0; m < s.middle; ++m) {
      float sum = 0, squares = 0;
      for (int64_t q = 0; q < u.panels; ++q) {
        const float* row = a + (q * s.low + m) * PANEL;
        for (int64_t p = 0, valid = u.valid(q); p < valid; ++p) sum += row[p];
      }
      const float mean = sum / u.count;
      for (int64_t q = 0; q < u.panels; ++q) {
        const float* row = a + (q * s.low + m) * PANEL;
        for (int64_t p = 0, valid = u.valid(q); p < valid; ++p) squares += (row[p] - mean) * (row[p] - mean);
      }
      means_and_squares[m] = mean, means_and_squares[s.middle + m] = squares;
    }
  }

  void merge_first(const float* parts, const Saved& keep) const {
    for (int64_t m = 0; m < s.middle; ++m) {
      double sum = 0, squares = 0;
      for (int64_t unit = 0; unit < s.units; ++unit) sum += parts[unit * 2 * s.middle + m] * double(Unit(s, unit).count);
      const double mean = sum / count();
      for (int64_t unit = 0; unit < s.units; ++unit) {
        const double away = parts[unit * 2 * s.middle + m] - mean;
        squares += parts[unit * 2 * s.middle + s.middle + m] + away * away * Unit(s, unit).count;
      }
      keep.mean1[m] = static_cast<float>(mean), keep.variance1[m] = static_cast<float>(squares / count());
    }
  }

  // Mean and covariance of h, and from them mean and variance of W2 h + b2.
  void second_moments(const TrainRoom& lent, const Saved& keep) {
    const int64_t matrix = s.low * s.width;
    clear(lent.squares, s.groups * matrix);
    each_group([&](int64_t group, int64_t unit, Room& room) {
      const Unit u(s, unit);
      float* sum = lent.parts + unit * s.middle;
      std::fill(sum, sum + s.middle, 0.0f);
      for (int64_t q = 0; q < u.panels; ++q) {
        activate(lent.kept + unit * s.low * s.run + q * s.low * PANEL, u.valid(q), room.h.data());
        for (int64_t m = 0; m < s.middle; ++m) sum[m] += sum_of(room.h.data() + m * PANEL);
        turn(room.h.data(), s.middle, s.width, room.turned.data());
        outer(room.h.data(), s.middle, room.turned.data(), s.width, lent.squares + group * matrix);
      }
    });
    std::vector<double> mean(s.middle, 0.0);
    for (int64_t m = 0; m < s.middle; ++m) {
      for (int64_t unit = 0; unit < s.units; ++unit) mean[m] += lent.parts[unit * s.middle + m];
      mean[m] /= count();
      keep.mean_h[m] = static_cast<float>(mean[m]);
    }
    for (int64_t i = 0; i < s.middle; ++i)
      for (int64_t j = 0; j < s.middle; ++j) {
        double sum = 0;
        for (int64_t group = 0; group < s.groups; ++group) sum += lent.squares[group * matrix + i * s.width + j];
        keep.covariance[i * s.middle + j] = static_cast<float>(sum / count() - mean[i] * mean[j]);
      }
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.channels; ++c) {
      const float* w = local.w2 + c * s.middle;
      double value = local.b2[c], variance = 0;
      for (int64_t i = 0; i < s.middle; ++i) {
        value += w[i] * (mean[i] + shift_[i]);
        variance += w[i] * along(keep.covariance + i * s.middle, w);
      }
      keep.mean2[c] = static_cast<float>(value), keep.variance2[c] = static_cast<float>(std::max(variance, 0.0));
    }
  }

  double along(const float* left, const float* right) const {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t m = 0; m < s.middle; ++m) sum += static_cast<double>(left[m]) * right[m];
    return sum;
  }

  void mixed(const Unit& u, int64_t q, const float* h, const float* offsets, float* out) const {
    const Map x(x_, s, u, q), residual(residual_, s, u, q), to(out, s, u, q);
    float logits[TILE * PANEL], room_x[PANEL], room_r[PANEL], room_out[PANEL];
    for (int64_t first = 0; first < s.channels; first += TILE) {
      apply_tile(packed2_.data(), s.middle, first, h, logits);
      for (int64_t c = first; c < std::min<int64_t>(first + TILE, s.channels); ++c) {
        const float *l = logits + (c - first) * PANEL, *a = x.read(c, room_x), *b = residual.read(c, room_r);
        float* z = to.target(c, room_out);
        const float offset = offsets[c];
#pragma omp simd
        for (int p = 0; p < PANEL; ++p) {
          const float w = sigmoid(l[p] + offset);
          z[p] = w * (mix.weighted_x * a[p] + mix.weighted_residual * b[p]) +
                 (mix.plain_x * a[p] + mix.plain_residual * b[p]);
        }
        to.written(c, room_out);
      }
    }
  }

  void logit_gradient(const Unit& u, int64_t q, const float* h, const float* offsets, float* out_gradient, float* d,
                      float* sums) const {
    const Map x(x_, s, u, q), residual(residual_, s, u, q), gradient(out_gradient, s, u, q);
    float room_x[PANEL], room_r[PANEL], room_g[PANEL];
    for (int64_t first = 0; first < s.channels; first += TILE) {
      apply_tile(packed2_.data(), s.middle, first, h, d + first * PANEL);
      for (int64_t c = first; c < std::min<int64_t>(first + TILE, s.channels); ++c) {
        const float *a = x.read(c, room_x), *b = residual.read(c, room_r), *g = gradient.read(c, room_g);
        float* to = d + c * PANEL;
        const float offset = offsets[c];
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int p = 0; p < PANEL; ++p) {
          const float w = sigmoid(to[p] + offset);
          to[p] = g[p] * (mix.weighted_x * a[p] + mix.weighted_residual * b[p]) * (w * (1.0f - w));
          sum += to[p];
        }
        sums[c] += sum;
      }
    }
  }

  // Gradients of the second convolution and norm; what the norm takes off behind W2^T, as a matrix on h and a constant.
  void second_norm(const float* products, const std::vector<double>& total, const Saved& keep,
                   const Weights<float>& d) {
    std::vector<double> from_mean(s.channels), from_product(s.channels), start(s.channels);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s.channels; ++c) {
      const float *w = local.w2 + c * s.middle, *product = products + c * s.width;
      double away = local.b2[c] - second_.mean[c];  // W2 h + b2 - mean, where h is its shift
      for (int64_t m = 0; m < s.middle; ++m) away += w[m] * shift_[m];
      const double slope = second_.inverse[c] * (along(w, product) + away * total[c]);
      d.gamma2[c] = static_cast<float>(slope), d.beta2[c] = static_cast<float>(total[c]);
      const double scale = local.gamma2[c] * second_.inverse[c];
      d.b2[c] = static_cast<float>(norm.batch ? 0.0 : scale * total[c]);
      start[c] = away;
      from_mean[c] = norm.batch ? scale * total[c] / count() : 0.0;
      from_product[c] = norm.batch ? scale * second_.inverse[c] * slope / count() : 0.0;
      for (int64_t m = 0; m < s.middle; ++m) {
        double value = scale * product[m];
        if (norm.batch)
          value -= from_mean[c] * count() * keep.mean_h[m] +
                   from_product[c] * count() * along(keep.covariance + m * s.middle, w);
        else
          value += scale * total[c] * shift_[m];
        d.w2[c * s.middle + m] = static_cast<float>(value);
      }
    }
    std::vector<float> matrix(s.middle * s.middle);
    constant_.assign(s.middle, 0.0f);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s.middle; ++i) {
      std::vector<double> row(s.middle, 0.0);
      double sum = 0;
      for (int64_t c = 0; c < s.channels; ++c) {
        const float* w = local.w2 + c * s.middle;
        sum += w[i] * (from_mean[c] + from_product[c] * start[c]);
        const double factor = w[i] * from_product[c];
#pragma omp simd
        for (int64_t j = 0; j < s.middle; ++j) row[j] += factor * w[j];
      }
      constant_[i] = static_cast<float>(sum);
      for (int64_t j = 0; j < s.middle; ++j) matrix[i * s.middle + j] = static_cast<float>(row[j]);
    }
    packed_back_.resize(packed_size(s.middle, s.middle));
    pack(packed_back_.data(), matrix.data(), s.middle, s.middle, s.middle, 1);
  }

  // e becomes the gradient of the first norm's output; sums of it and of it times (a - mean) are added up.
  void behind_first(int64_t valid, const float* a, float* e, Room& room, float* sums) const {
    activate(a, PANEL, room.h.data());
    if (norm.batch) apply(packed_back_.data(), s.middle, s.middle, room.h.data(), room.a.data());
    for (int64_t m = 0; m < s.middle; ++m) {
      const float scale = scale1_[m], offset = offset1_[m], constant = constant_[m];
      const float mean = static_cast<float>(first_.mean[m]);
      const float *before = a + m * PANEL, *taken = room.a.data() + m * PANEL;
      float *gradient = e + m * PANEL, sum = 0, product = 0;
      if (norm.batch) {
#pragma omp simd
        for (int p = 0; p < PANEL; ++p) gradient[p] -= constant + taken[p];
      }
      for (int64_t p = valid; p < PANEL; ++p) gradient[p] = 0.0f;
#pragma omp simd reduction(+ : sum, product)
      for (int p = 0; p < PANEL; ++p) {
        gradient[p] = scale * before[p] + offset > 0.0f ? gradient[p] : 0.0f;
        sum += gradient[p];
        product += gradient[p] * (before[p] - mean);
      }
      sums[m] += sum, sums[s.middle + m] += product;
    }
  }

  void first_norm(const float* parts, const Weights<float>& d) {
    from_mean1_.assign(s.middle, 0.0f), from_product1_.assign(s.middle, 0.0f);
    for (int64_t m = 0; m < s.middle; ++m) {
      double sum = 0, product = 0;
      for (int64_t unit = 0; unit < s.units; ++unit) {
        sum += parts[unit * 2 * s.middle + m];
        product += parts[unit * 2 * s.middle + s.middle + m];
      }
      d.beta1[m] = static_cast<float>(sum);
      d.gamma1[m] = static_cast<float>(product * first_.inverse[m]);
      if (!norm.batch) continue;
      from_mean1_[m] = static_cast<float>(sum / count());
      from_product1_[m] = static_cast<float>(product * first_.inverse[m] * first_.inverse[m] / count());
    }
  }

  // e, the gradient of the first norm's output, becomes that of its input.
  void through_first(int64_t valid, const float* a, float* e, float* bias) const {
    for (int64_t m = 0; m < s.middle; ++m) {
      const float scale = scale1_[m], mean = static_cast<float>(first_.mean[m]);
      const float level = from_mean1_[m], slope = from_product1_[m];
      const float* before = a + m * PANEL;
      float *gradient = e + m * PANEL, sum = 0;
#pragma omp simd
      for (int p = 0; p < PANEL; ++p)
        gradient[p] = scale * (gradient[p] - level - (before[p] - mean) * slope);
      for (int64_t p = valid; p < PANEL; ++p) gradient[p] = 0.0f;
#pragma omp simd reduction(+ : sum)
      for (int p = 0; p < PANEL; ++p) sum += gradient[p];
      bias[m] += sum;
    }
  }

  void input_gradient(const Unit& u, int64_t q, const float* h, const float* e, const float* to_z, const float* offsets,
                      const float* from_means, float* out_gradient, float* dx, float* dresidual, float* dcontext) const {
    const Map x(x_, s, u, q), gradient(out_gradient, s, u, q);
    const Map to_x(dx, s, u, q), to_r(dresidual ? dresidual : dx, s, u, q), to_c(dcontext ? dcontext : dx, s, u, q);
    float logits[TILE * PANEL], context[TILE * PANEL], room_g[PANEL];
    float room_x[PANEL], room_r[PANEL], room_c[PANEL];
    const float share = 1.0f / s.positions, in_x = mix.context_x, in_r = mix.context_residual;
    for (int64_t first = 0; first < s.channels; first += TILE) {
      apply_tile(packed2_.data(), s.middle, first, h, logits);
      apply_tile(to_z, s.middle, first, e, context);
      for (int64_t c = first; c < std::min<int64_t>(first + TILE, s.channels); ++c) {
        const float *l = logits + (c - first) * PANEL, *g = gradient.read(c, room_g), offset = offsets[c];
        const float pooled = from_means[c] * share;
        float* z = context + (c - first) * PANEL;
        float *gx = to_x.target(c, room_x), *gr = dresidual ? to_r.target(c, room_r) : room_r;
#pragma omp simd
        for (int p = 0; p < PANEL; ++p) {
          const float w = sigmoid(l[p] + offset);
          z[p] += pooled;
          gx[p] = g[p] * (w * mix.weighted_x + mix.plain_x) + in_x * z[p];
          gr[p] = g[p] * (w * mix.weighted_residual + mix.plain_residual) + in_r * z[p];
        }
        to_x.written(c, room_x);
        if (dresidual) to_r.written(c, room_r);
        if (dcontext) {
          std::memcpy(to_c.target(c, room_c), z, PANEL * sizeof(float));
          to_c.written(c, room_c);
        }
      }
    }
  }

  Sizes s;
  Mix mix;
  Norm norm;
  Weights<const float> local, global;
  float *x_ = nullptr, *residual_ = nullptr, *context_ = nullptr;
  Statistics first_{0}, second_{0};
  std::vector<float> packed1_, packed2_, packed_back_, constant_;
  std::vector<float> scale1_, offset1_, shift_, scale2_, offset2_, from_mean1_, from_product1_;
};

}  // namespace gluon_aff
