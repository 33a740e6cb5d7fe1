// The weights of a context branch (conv1x1, norm, relu, conv1x1, norm), and the global branch: what it makes of the
// means (N, C), forward and backward. Small matrices; whole numbers of images, so no panels.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace gluon_aff {

// Where the arrays of a branch lie in the flat array of parameters, and in that of their gradients.
template <class T>
struct Weights {
  T *w1, *b1, *gamma1, *beta1, *w2, *b2, *gamma2, *beta2, *end;
  Weights(T* flat, int64_t channels, int64_t middle)
      : w1(flat),
        b1(w1 + middle * channels),
        gamma1(b1 + middle),
        beta1(gamma1 + middle),
        w2(beta1 + middle),
        b2(w2 + channels * middle),
        gamma2(b2 + channels),
        beta2(gamma2 + channels),
        end(beta2 + channels) {}
};

struct Norm {
  double eps, momentum;
  bool batch;  // normalise by the statistics of the batch, not by the running ones
};

// Running statistics of the two norms of a branch: mean and variance of each.
struct Running {
  float *mean1, *variance1, *mean2, *variance2;
};

inline void update(float* running, const std::vector<double>& batch, double momentum) {
  for (size_t c = 0; c < batch.size(); ++c)
    running[c] = static_cast<float>(running[c] * momentum + batch[c] * (1.0 - momentum));
}

// One norm of (rows, images) arrays: mean and 1 / deviation of each row.
struct Statistics {
  std::vector<double> mean, variance, inverse;
  explicit Statistics(int64_t rows) : mean(rows), variance(rows), inverse(rows) {}
  void of_batch(const std::vector<double>& values, int64_t count) {
    for (size_t c = 0; c < mean.size(); ++c) {
      double sum = 0, squares = 0;
      for (int64_t n = 0; n < count; ++n) sum += values[c * count + n];
      mean[c] = sum / count;
      for (int64_t n = 0; n < count; ++n) squares += (values[c * count + n] - mean[c]) * (values[c * count + n] - mean[c]);
      variance[c] = squares / count;
    }
  }
  void of_running(const float* running_mean, const float* running_variance) {
    for (size_t c = 0; c < mean.size(); ++c) mean[c] = running_mean[c], variance[c] = running_variance[c];
  }
  void invert(double eps) {
    for (size_t c = 0; c < mean.size(); ++c) inverse[c] = 1.0 / std::sqrt(variance[c] + eps);
  }
};

// The global branch on the means of `count` images, in double: it is a vanishing part of the work.
class GlobalBranch {
 public:
  GlobalBranch(const Weights<const float>& weights, int64_t channels, int64_t middle, int64_t count)
      : w_(weights), channels_(channels), middle_(middle), count_(count), first_(middle), second_(channels) {}

  // means (count, channels) -> logits (count, channels). Running statistics are read, and with `batch` left alone.
  void forward(const float* means, const Running& running, const Norm& norm, float* logits) {
    input_.assign(means, means + count_ * channels_);
    before1_ = dense(w_.w1, w_.b1, middle_, channels_, [&](int64_t k, int64_t n) { return input_[n * channels_ + k]; });
    normalise(&first_, before1_, running.mean1, running.variance1, norm);
    hidden_.resize(middle_ * count_);
    for (int64_t m = 0; m < middle_; ++m)
      for (int64_t n = 0; n < count_; ++n) {
        const double value = w_.gamma1[m] * normal(first_, before1_, m, n) + w_.beta1[m];
        hidden_[m * count_ + n] = value > 0 ? value : (value != value ? value : 0);
      }
    before2_ = dense(w_.w2, w_.b2, channels_, middle_, [&](int64_t k, int64_t n) { return hidden_[k * count_ + n]; });
    normalise(&second_, before2_, running.mean2, running.variance2, norm);
    for (int64_t n = 0; n < count_; ++n)
      for (int64_t c = 0; c < channels_; ++c)
        logits[n * channels_ + c] = static_cast<float>(w_.gamma2[c] * normal(second_, before2_, c, n) + w_.beta2[c]);
  }

  void update_running(const Running& running, const Norm& norm) const {
    update(running.mean1, first_.mean, norm.momentum);
    update(running.variance1, first_.variance, norm.momentum);
    update(running.mean2, second_.mean, norm.momentum);
    update(running.variance2, second_.variance, norm.momentum);
  }

  // After `forward`: gradients of the logits (count, channels) -> of the means, and of the weights.
  void backward(const float* logits, const Norm& norm, float* means, const Weights<float>& gradient) {
    std::vector<double> outer(channels_ * count_);
    for (int64_t n = 0; n < count_; ++n)
      for (int64_t c = 0; c < channels_; ++c) outer[c * count_ + n] = logits[n * channels_ + c];
    through_norm(&outer, second_, before2_, w_.gamma2, norm, gradient.gamma2, gradient.beta2);
    through_dense(outer, channels_, middle_, [&](int64_t k, int64_t n) { return hidden_[k * count_ + n]; }, gradient.w2,
                  gradient.b2);
    std::vector<double> inner = turned(w_.w2, outer, channels_, middle_);
    for (size_t i = 0; i < inner.size(); ++i)
      if (!(hidden_[i] > 0)) inner[i] = 0;
    through_norm(&inner, first_, before1_, w_.gamma1, norm, gradient.gamma1, gradient.beta1);
    through_dense(inner, middle_, channels_, [&](int64_t k, int64_t n) { return input_[n * channels_ + k]; },
                  gradient.w1, gradient.b1);
    const std::vector<double> back = turned(w_.w1, inner, middle_, channels_);
    for (int64_t n = 0; n < count_; ++n)
      for (int64_t c = 0; c < channels_; ++c) means[n * channels_ + c] = static_cast<float>(back[c * count_ + n]);
  }

 private:
  template <class Input>
  std::vector<double> dense(const float* w, const float* bias, int64_t rows, int64_t depth, Input input) const {
    std::vector<double> out(rows * count_), in(depth * count_);
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t n = 0; n < count_; ++n) in[k * count_ + n] = input(k, n);
#pragma omp parallel for schedule(static) if (rows * depth * count_ > 100000)
    for (int64_t m = 0; m < rows; ++m) {
      double* to = out.data() + m * count_;
      for (int64_t n = 0; n < count_; ++n) to[n] = bias[m];
      if (count_ == 1) {
        const float* row = w + m * depth;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t k = 0; k < depth; ++k) sum += row[k] * in[k];
        to[0] += sum;
        continue;
      }
      for (int64_t k = 0; k < depth; ++k) {
        const double weight = w[m * depth + k];
        const double* from = in.data() + k * count_;
#pragma omp simd
        for (int64_t n = 0; n < count_; ++n) to[n] += weight * from[n];
      }
    }
    return out;
  }

  // w transposed x gradient.
  std::vector<double> turned(const float* w, const std::vector<double>& gradient, int64_t rows, int64_t depth) const {
    std::vector<double> out(depth * count_, 0.0);
#pragma omp parallel for schedule(static) if (rows * depth * count_ > 100000)
    for (int64_t k = 0; k < depth; ++k) {
      double* to = out.data() + k * count_;
      for (int64_t m = 0; m < rows; ++m) {
        const double weight = w[m * depth + k];
        const double* from = gradient.data() + m * count_;
#pragma omp simd
        for (int64_t n = 0; n < count_; ++n) to[n] += weight * from[n];
      }
    }
    return out;
  }

  template <class Input>
  void through_dense(const std::vector<double>& gradient, int64_t rows, int64_t depth, Input input, float* w,
                     float* bias) const {
    std::vector<double> in(count_ * depth);
    for (int64_t n = 0; n < count_; ++n)
      for (int64_t k = 0; k < depth; ++k) in[n * depth + k] = input(k, n);
#pragma omp parallel for schedule(static) if (rows * depth * count_ > 100000)
    for (int64_t m = 0; m < rows; ++m) {
      std::vector<double> sums(depth, 0.0);
      double total = 0;
      for (int64_t n = 0; n < count_; ++n) {
        const double value = gradient[m * count_ + n];
        const double* from = in.data() + n * depth;
        total += value;
#pragma omp simd
        for (int64_t k = 0; k < depth; ++k) sums[k] += value * from[k];
      }
      bias[m] = static_cast<float>(total);
      for (int64_t k = 0; k < depth; ++k) w[m * depth + k] = static_cast<float>(sums[k]);
    }
  }

  void normalise(Statistics* statistics, const std::vector<double>& values, const float* mean, const float* variance,
                 const Norm& norm) const {
    if (norm.batch)
      statistics->of_batch(values, count_);
    else
      statistics->of_running(mean, variance);
    statistics->invert(norm.eps);
  }

  double normal(const Statistics& statistics, const std::vector<double>& values, int64_t row, int64_t n) const {
    return (values[row * count_ + n] - statistics.mean[row]) * statistics.inverse[row];
  }

  void through_norm(std::vector<double>* gradient, const Statistics& statistics, const std::vector<double>& values,
                    const float* gamma, const Norm& norm, float* gamma_gradient, float* beta_gradient) const {
    for (size_t row = 0; row < statistics.mean.size(); ++row) {
      double sum = 0, product = 0;
      for (int64_t n = 0; n < count_; ++n) {
        sum += (*gradient)[row * count_ + n];
        product += (*gradient)[row * count_ + n] * normal(statistics, values, row, n);
      }
      gamma_gradient[row] = static_cast<float>(product);
      beta_gradient[row] = static_cast<float>(sum);
      for (int64_t n = 0; n < count_; ++n) {
        double& value = (*gradient)[row * count_ + n];
        if (norm.batch) value -= sum / count_ + normal(statistics, values, row, n) * product / count_;
        value *= gamma[row] * statistics.inverse[row];
      }
    }
  }

  Weights<const float> w_;
  int64_t channels_, middle_, count_;
  Statistics first_, second_;
  std::vector<double> input_, before1_, hidden_, before2_;
};

}  // namespace gluon_aff
