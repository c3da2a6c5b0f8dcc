# Warnings are errors; hardening flags are probed one by one, because gcc 12 and clang 14 know different sets.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
check_pie_supported()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)                      # for editors, and for the test that looks at the flags

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wimplicit-fallthrough -Wstrict-prototypes -Werror)
foreach(flag -Wtrampolines -Wbidi-chars=any -fstack-clash-protection -fstack-protector-strong -fcf-protection=full
        -ftrivial-auto-var-init=zero -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing
        -fstrict-flex-arrays=3 -fzero-init-padding-bits=all)
  string(MAKE_C_IDENTIFIER "HAVE${flag}" var)
  check_c_compiler_flag("-Werror ${flag}" ${var})
  if(${var})
    add_compile_options(${flag})
  endif()
endforeach()
add_compile_options(-Werror=format-security -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")
if(MINTD_SANITIZE)
  add_compile_options(-fsanitize=${MINTD_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${MINTD_SANITIZE})
else()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack,-z,text,--as-needed)
add_compile_definitions(_GNU_SOURCE)
if(MINTD_CRASH_POINTS)
  add_compile_definitions(MINTD_CRASH_POINTS)
endif()

# A folder of the core as a static library that may use the libraries listed.
function(mintd_layer name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "/loop_uv\\.c$")       # linked by the daemon alone: the seam
  add_library(mintd_${name} STATIC ${sources})
  target_include_directories(mintd_${name} PUBLIC ${CMAKE_SOURCE_DIR}/core ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(mintd_${name} PUBLIC ${ARGN})
endfunction()

# A plugin: every .c of its folder, its own libraries only, one exported symbol, nothing undefined.
function(mintd_plugin name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  add_library(${name} MODULE ${sources})
  # The version script hides all but the entry; hidden by the compiler it would stay hidden.
  set_target_properties(${name} PROPERTIES C_VISIBILITY_PRESET default PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${MINTD_PLUGIN_OUT})
  target_compile_options(${name} PRIVATE -fno-semantic-interposition)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${ARGN})
  if(NOT MINTD_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
  target_link_options(${name} PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/cmake/plugin.map)
  set_property(GLOBAL APPEND PROPERTY MINTD_PLUGINS ${name})
endfunction()

# A cmocka test program with a CTest label. It links the seeded loop unless REAL_LOOP is given. Runs in the build folder's scratch directory.
function(mintd_test label name)
  cmake_parse_arguments(T "REAL_LOOP" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  if(T_REAL_LOOP)
    target_link_libraries(${name} PRIVATE ${T_LIBS} mintd_loop_uv mintd_testlib)
  else()
    target_link_libraries(${name} PRIVATE ${T_LIBS} mintd_loop_fake mintd_testlib)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${label}
    ENVIRONMENT "MINTD_PLUGINS=${MINTD_PLUGIN_OUT};MINTD_SOURCE=${CMAKE_SOURCE_DIR};MINTD_BIN=${CMAKE_BINARY_DIR}/mintd")
  if(T_TIMEOUT)
    set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT})
  endif()
endfunction()
