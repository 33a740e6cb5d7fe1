// The operator `_gluon_aff_attend`, through MXNet's extension interface. Its arithmetic is in attend.h.
//
// Inputs: x, [residual], [context], mode (one number: 1 in inference, another in training), the flat parameters of the
// local and the global branch, and the running mean and variance of their four norms, which training updates.
// Outputs: the fused map; what the backward pass needs.
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "attend.h"
#include "mxnet/lib_api.h"

using mxnet::ext::MXReturnValue;
using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
typedef std::unordered_map<std::string, std::string> Attributes;
typedef std::vector<std::vector<unsigned int> > Shapes;

namespace {

std::string text(const Attributes& attributes, const char* name) {
  const auto found = attributes.find(name);
  if (found == attributes.end()) throw std::runtime_error(std::string("_gluon_aff_attend needs ") + name);
  return found->second;
}

struct Settings {
  gluon_aff::Mix mix;
  gluon_aff::Norm norm;
  int64_t middle;
  bool has_residual, has_context, frozen;
  int residual, context, mode, flat, running, inputs;  // positions of inputs; -1 for none

  explicit Settings(const Attributes& attributes) {
    std::istringstream numbers(text(attributes, "mix"));
    mix = {0, 0, 0, 0, text(attributes, "attends_x") == "1", text(attributes, "attends_residual") == "1"};
    if (!(numbers >> mix.weighted_x >> mix.weighted_residual >> mix.plain_x >> mix.plain_residual))
      throw std::runtime_error("_gluon_aff_attend needs four numbers as mix");
    middle = std::stoll(text(attributes, "middle"));
    frozen = text(attributes, "frozen") == "1";
    norm.eps = std::stod(text(attributes, "eps")), norm.momentum = std::stod(text(attributes, "momentum"));
    norm.batch = false;
    has_residual = text(attributes, "residual") == "1", has_context = !mix.context_x && !mix.context_residual;
    int next = 1;
    residual = has_residual ? next++ : -1, context = has_context ? next++ : -1;
    mode = next++, flat = next++, running = next, inputs = running + 8;
  }
};

gluon_aff::Sizes sizes_of(const std::vector<int64_t>& shape, int64_t middle) {
  return gluon_aff::Sizes(shape[0], shape[1], middle, shape[2] * shape[3]);
}

// `first` is where the operator's own inputs begin.
struct Call {
  Settings settings;
  std::vector<MXTensor>& in;
  int first;
  float* data(int input) const { return input < 0 ? nullptr : in[first + input].data<float>(); }
  gluon_aff::Running running(int branch) const {
    const int at = settings.running + 4 * branch;
    return {data(at), data(at + 1), data(at + 2), data(at + 3)};
  }
  gluon_aff::Sizes sizes() const { return sizes_of(in[first].shape, settings.middle); }
  gluon_aff::Attend attend() {
    settings.norm.batch = !settings.frozen && *data(settings.mode) != 1.0f;
    gluon_aff::Attend made(sizes(), settings.mix, settings.norm, data(settings.flat));
    made.maps(data(0), settings.has_residual ? data(settings.residual) : data(0), data(settings.context));
    return made;
  }
};

// Memory for one call: from MXNet's pool, or, where that cannot count so far, from the system.
template <class Room>
class Lent {
 public:
  Lent(const gluon_aff::Sizes& sizes, const OpResource& resource) : scratch_{nullptr, 0} {
    Room counted(sizes, &scratch_);
    const int64_t bytes = scratch_.used * static_cast<int64_t>(sizeof(float));
    if (bytes <= std::numeric_limits<int>::max()) {
      scratch_.base = static_cast<float*>(resource.alloc_cpu(static_cast<int>(bytes)));
    } else {
      own_.reset(new float[scratch_.used]);
      scratch_.base = own_.get();
    }
    scratch_.used = 0;
  }
  Room room(const gluon_aff::Sizes& sizes) { return Room(sizes, &scratch_); }

 private:
  gluon_aff::Scratch scratch_;
  std::unique_ptr<float[]> own_;
};

template <class Work>
MXReturnValue guarded(Work work) {
  try {
    work();
    return mxnet::ext::MX_SUCCESS;
  } catch (const std::exception& error) {
    MX_ERROR_MSG << "_gluon_aff_attend: " << error.what();
    return mxnet::ext::MX_FAIL;
  }
}

MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* in, std::vector<MXTensor>* out,
                      const OpResource& resource) {
  return guarded([&] {
    Call call{Settings(attributes), *in, 0};
    gluon_aff::Attend attend = call.attend();
    float *fused = (*out)[0].data<float>(), *saved = (*out)[1].data<float>();
    if (call.settings.norm.batch) {
      Lent<gluon_aff::TrainRoom> lent(call.sizes(), resource);
      attend.train(call.running(0), call.running(1), lent.room(call.sizes()), fused, saved);
    } else {
      attend.infer(call.running(0), call.running(1), fused, saved);
    }
  });
}

// Inputs: gradients of the two outputs, the operator's inputs, its outputs. Outputs: a gradient of every input.
MXReturnValue backward(const Attributes& attributes, std::vector<MXTensor>* in, std::vector<MXTensor>* out,
                       const OpResource& resource) {
  return guarded([&] {
    Call call{Settings(attributes), *in, 2};
    const Settings& settings = call.settings;
    gluon_aff::Attend attend = call.attend();
    const auto gradient = [&](int input) { return input < 0 ? nullptr : (*out)[input].data<float>(); };
    float* saved = (*in)[2 + settings.inputs + 1].data<float>();
    Lent<gluon_aff::BackwardRoom> lent(call.sizes(), resource);
    attend.backward(call.running(0), call.running(1), lent.room(call.sizes()), saved, (*in)[0].data<float>(), gradient(0),
                    gradient(settings.residual), gradient(settings.context), gradient(settings.flat));
    *gradient(settings.mode) = 0.0f;
    for (int input = settings.running; input < settings.inputs; ++input)
      std::fill_n(gradient(input), (*out)[input].size(), 0.0f);
  });
}

MXReturnValue parse(const Attributes& attributes, int* inputs, int* outputs) {
  return guarded([&] {
    *inputs = Settings(attributes).inputs;
    *outputs = 2;
  });
}

MXReturnValue infer_type(const Attributes&, std::vector<int>* in, std::vector<int>* out) {
  return guarded([&] {
    for (int& type : *in) {
      if (type > 0) throw std::runtime_error("takes float32 only");
      type = mxnet::ext::kFloat32;
    }
    for (int& type : *out) type = mxnet::ext::kFloat32;
  });
}

MXReturnValue infer_shape(const Attributes& attributes, Shapes* in, Shapes* out) {
  return guarded([&] {
    const Settings settings(attributes);
    std::vector<unsigned int> map = (*in)[0];
    if (map.empty() && settings.has_residual) map = (*in)[settings.residual];
    if (map.size() != 4) throw std::runtime_error("x is not (N, C, H, W)");
    const gluon_aff::Sizes sizes = sizes_of({map[0], map[1], map[2], map[3]}, settings.middle);
    (*in)[0] = map;
    for (int input : {settings.residual, settings.context}) {
      if (input < 0) continue;
      if (!(*in)[input].empty() && (*in)[input] != map) throw std::runtime_error("two maps are of different shape");
      (*in)[input] = map;
    }
    (*in)[settings.mode] = {1};
    (*in)[settings.flat] = {static_cast<unsigned>(sizes.flat())};
    for (int number = 0; number < 8; ++number)
      (*in)[settings.running + number] = {static_cast<unsigned>(number % 4 < 2 ? sizes.middle : sizes.channels)};
    (*out)[0] = map;
    (*out)[1] = {static_cast<unsigned>(sizes.saved())};
  });
}

MXReturnValue mutated(const Attributes& attributes, std::vector<int>* indices) {
  return guarded([&] {
    const Settings settings(attributes);
    for (int input = settings.running; input < settings.inputs; ++input) indices->push_back(input);
  });
}

}  // namespace

REGISTER_OP(_gluon_aff_attend)
    .setForward(forward, "cpu")
    .setBackward(backward, "cpu")
    .setParseAttrs(parse)
    .setInferType(infer_type)
    .setInferShape(infer_shape)
    .setMutateInputs(mutated);

MXReturnValue initialize(int version) { return version >= 10700 ? mxnet::ext::MX_SUCCESS : mxnet::ext::MX_FAIL; }
