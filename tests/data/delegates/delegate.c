/* An external delegate for tests: the C interface of TensorFlow Lite's external_delegate_interface.h, written down
   from the public headers (tensorflow/lite/core/c/common.h), so that no TensorFlow is needed to build it.

   -DWORKS     claims every float ADD and computes it
   -DWRONG     the same, and computes it wrongly
   -DNAN       the same, and answers not a number
   -DIDLE      loads and claims nothing
   -DREFUSES   refuses, with an empty text
   -DSPEAKS    refuses, and says why: the value of the option "device"
   -DBREAKS    loads, and fails when it is given a graph
   -DCRASHES   crashes while it is loaded
   -DHANGS     never comes back from being loaded
   -DSTICKS    the same, while there is a file of the name in the option "device"; else works
   -DPARTS     works, or refuses when the function "is_broken" of the library that it is linked to says so
   -DSYMBOL    has no tflite_plugin_create_delegate */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { int size; int data[]; } IntArray;
typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  int type;
  void *data;
  IntArray *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  Delegate *delegate;
  int buffer_handle;
  bool data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const IntArray *dims_signature;
} Tensor;

typedef struct {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void *custom_initial_data;
  int custom_initial_data_size;
  Delegate *delegate;
  bool might_have_side_effect;
} Node;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external;
  void *async_kernel;
  uint64_t inplace_operator;
} Registration;

struct Context {
  size_t tensors_size;
  int (*GetExecutionPlan)(Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  int (*ResizeTensor)(Context *, Tensor *, IntArray *);
  void (*ReportError)(Context *, const char *, ...);
  int (*AddTensors)(Context *, int, int *);
  int (*GetNodeAndRegistration)(Context *, int, Node **, Registration **);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(Context *, Registration, const IntArray *, Delegate *);
};

struct Delegate {
  void *data;
  int (*Prepare)(Context *, Delegate *);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
};

enum { OK = 0, ERROR = 1, ADD = 0, FLOAT32 = 1 };

#ifdef WRONG
#define SIGN -
#elif defined(NAN)
#define SIGN * (0.0f / 0.0f) +
#else
#define SIGN +
#endif

static int add(Context *context, Node *node) {
  const IntArray *inputs = node->inputs;
  const float *left = context->tensors[inputs->data[0]].data;
  const float *right = context->tensors[inputs->data[inputs->size - 1]].data;
  Tensor *sum = &context->tensors[node->outputs->data[0]];
  for (size_t i = 0; i < sum->bytes / sizeof(float); ++i) ((float *)sum->data)[i] = left[i] SIGN right[i];
  return OK;
}

static int claim(Context *context, Delegate *delegate) {
#ifdef BREAKS
  context->ReportError(context, "this device is on fire");
  return ERROR;
#endif
  IntArray *plan, *mine;
  if (context->GetExecutionPlan(context, &plan) != OK) return ERROR;
  mine = calloc(1, sizeof(int) * (size_t)(plan->size + 1));
#ifndef IDLE
  for (int i = 0; i < plan->size; ++i) {
    Node *node;
    Registration *registration;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != OK) return ERROR;
    if (registration->builtin_code == ADD && context->tensors[node->outputs->data[0]].type == FLOAT32)
      mine->data[mine->size++] = plan->data[i];
  }
#endif
  Registration kernel = {.invoke = add, .custom_name = "TestAdd", .version = 1};
  int status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, mine, delegate);
  free(mine);
  return status;
}

#ifndef SYMBOL
Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  const char *device = "";
  for (size_t i = 0; i < count; ++i)
    if (strcmp(keys[i], "device") == 0) device = values[i];
#ifdef REFUSES
  return NULL;
#endif
#ifdef SPEAKS
  report(device);
  return NULL;
#endif
#ifdef CRASHES
  static const char last[] = "about to crash\n";
  if (write(2, last, sizeof last - 1) > 0) *(volatile int *)8 = 0;
#endif
#ifdef HANGS
  for (;;) pause();
#endif
#ifdef PARTS
  extern int is_broken(void);
  if (is_broken()) return NULL;
#endif
#ifdef STICKS
  while (access(device, F_OK) == 0) pause();
#endif
  (void)device, (void)report;
  Delegate *delegate = calloc(1, sizeof *delegate);
  delegate->Prepare = claim;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
#else
int unrelated(void) { return claim(NULL, NULL); }
#endif
